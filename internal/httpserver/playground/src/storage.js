// GraphiQL keeps its tabs, history and settings in localStorage under names that every GraphiQL on an origin shares.
// Behind this prefix the Playground starts with its own example tabs even where another GraphiQL has been before.
const prefix = 'emporium-playground:';

/** A Storage for GraphiQL; without localStorage (blocked by the browser) it forgets everything on reload. */
export function createStorage() {
  const backend = available();
  const storage = {
    getItem: (name) => backend.getItem(prefix + name),
    setItem: (name, value) => backend.setItem(prefix + name, withoutHeaders(name, value)),
    removeItem: (name) => backend.removeItem(prefix + name),
    clear: () => ownKeys(backend).forEach((key) => backend.removeItem(key)),
    get length() {
      return ownKeys(backend).length;
    },
  };
  alignWithTabs(storage);
  return storage;
}

// GraphiQL stores what is in its editors apart from its tabs and a moment before or after them. When the two differ as
// the page is loaded, it takes the editors' content for one more tab; so the open tab's content is put in its place.
function alignWithTabs(storage) {
  let tab;
  try {
    const state = JSON.parse(storage.getItem('graphiql:tabState'));
    tab = state.tabs[state.activeTabIndex];
  } catch {
    return; // nothing stored, or nothing that GraphiQL could read either
  }
  for (const name of ['query', 'variables']) {
    if (tab?.[name]) {
      storage.setItem(`graphiql:${name}`, tab[name]);
    } else {
      storage.removeItem(`graphiql:${name}`);
    }
  }
}

function available() {
  try {
    const probe = `${prefix}probe`;
    localStorage.setItem(probe, '1');
    localStorage.removeItem(probe);
    return localStorage;
  } catch {
    return memory();
  }
}

function memory() {
  const items = new Map();
  return {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, value),
    removeItem: (key) => void items.delete(key),
    key: (index) => [...items.keys()][index] ?? null,
    get length() {
      return items.size;
    },
  };
}

function ownKeys(backend) {
  return Array.from({ length: backend.length }, (_, index) => backend.key(index)).filter((key) =>
    key?.startsWith(prefix),
  );
}

// Tokens stand in the headers. Tabs are stored without them, but GraphiQL would write them into its history.
function withoutHeaders(name, value) {
  if (name !== 'graphiql:queries' && name !== 'graphiql:favorites') {
    return value;
  }
  return JSON.stringify(JSON.parse(value), (key, item) => (key === 'headers' ? undefined : item));
}
