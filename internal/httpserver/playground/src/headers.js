// The headers editor holds a JSON object as text. These functions read and change its Authorization entry and leave
// everything else as it is.

function parse(text) {
  if (!text || text.trim() === '') {
    return {};
  }
  try {
    const value = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

const isAuthorization = (name) => name.toLowerCase() === 'authorization';

/** The bearer token in the headers, '' for another kind of Authorization, null without one. */
export function tokenIn(text) {
  return tokenOf(parse(text) ?? {});
}

/** Like tokenIn, for headers that are an object already. */
export function tokenOf(headers) {
  const name = Object.keys(headers).find(isAuthorization);
  if (name === undefined) {
    return null;
  }
  return /^Bearer (.*)$/i.exec(String(headers[name]))?.[1] ?? '';
}

/**
 * The headers with this bearer token, or without any Authorization when it is null. Text that is no JSON object is
 * replaced when there is a token to put in, and kept otherwise.
 */
export function withAuthorization(text, token) {
  const headers = parse(text);
  if (headers === null && token === null) {
    return text;
  }
  const changed = Object.fromEntries(Object.entries(headers ?? {}).filter(([name]) => !isAuthorization(name)));
  if (token !== null) {
    changed.Authorization = `Bearer ${token}`;
  }
  return Object.keys(changed).length === 0 ? '' : JSON.stringify(changed, null, 2);
}
