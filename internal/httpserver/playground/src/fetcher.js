import { Kind, parse } from 'graphql';

const introspection = 'IntrospectionQuery';

/**
 * Sends GraphQL requests for GraphiQL. onIntrospection is told why there is no schema, or null when there is one;
 * onResult sees every other result, with the headers of its request.
 */
export function createFetcher(endpoint, { onIntrospection, onResult }) {
  return async (request, options) => {
    if (request.operationName !== introspection) {
      const result = await post(endpoint, { ...request, operationName: operationName(request) }, options?.headers);
      onResult(result, options?.headers);
      return result;
    }
    try {
      const result = await post(endpoint, request, options?.headers);
      onIntrospection(
        result?.data?.__schema ? null : { refused: true, message: messagesOf(result) || 'the answer has no schema' },
      );
      return result;
    } catch (error) {
      onIntrospection({ refused: false, message: error.message });
      throw error;
    }
  };
}

// GraphiQL learns the name of the operation a moment after another query came into the editor. Whoever is quicker would
// send the new query with the name of the old one.
function operationName({ query, operationName }) {
  let names;
  try {
    names = parse(query)
      .definitions.filter((definition) => definition.kind === Kind.OPERATION_DEFINITION)
      .map((definition) => definition.name?.value);
  } catch {
    return undefined; // the server tells what is wrong with the document
  }
  if (names.includes(operationName)) {
    return operationName;
  }
  return names.length === 1 ? names[0] : undefined;
}

/** Posts one GraphQL request; throws an Error with a readable message when the answer is no JSON object. */
export async function post(endpoint, request, headers) {
  let response;
  try {
    response = await fetch(endpoint, {
      method: 'POST',
      headers: { Accept: 'application/json', 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify(request),
    });
  } catch (error) {
    throw new Error(`${endpoint} can not be reached: ${error.message}`);
  }
  const text = await response.text();
  try {
    const result = JSON.parse(text);
    if (typeof result === 'object' && result !== null) {
      return result;
    }
  } catch {
    // Reported below, with the status that explains it.
  }
  const excerpt = text.trim().slice(0, 300);
  throw new Error(`${endpoint} answered ${response.status} ${response.statusText}${excerpt ? `: ${excerpt}` : ''}`);
}

/** The messages of a result's errors in one line, each once. */
export function messagesOf(result) {
  return [...new Set((result?.errors ?? []).map((error) => error.message))].join('; ');
}
