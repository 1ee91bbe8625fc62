const introspection = 'IntrospectionQuery';

/**
 * Sends GraphQL requests for GraphiQL. onIntrospection is told why there is no schema, or null when there is one;
 * onResult sees every other result.
 */
export function createFetcher(endpoint, { onIntrospection, onResult }) {
  return async (request, options) => {
    if (request.operationName !== introspection) {
      const result = await post(endpoint, request, options?.headers);
      onResult(result);
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

/** The messages of a result's errors in one line. */
export function messagesOf(result) {
  return (result?.errors ?? []).map((error) => error.message).join('; ');
}
