import { Component, useMemo, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { GraphiQL, GraphiQLInterface, GraphiQLProvider } from 'graphiql';
import { ImagePreview } from '@graphiql/react';
import { DOC_EXPLORER_PLUGIN, DocExplorerContextProvider } from '@graphiql/plugin-doc-explorer';
import { HISTORY_PLUGIN, HistoryContextProvider } from '@graphiql/plugin-history';
import 'graphiql/style.css';
import './style.css';
import { Bar } from './bar.jsx';
import { createFetcher } from './fetcher.js';
import { tokenOf, withAuthorization } from './headers.js';
import { createStorage } from './storage.js';

const config = JSON.parse(document.getElementById('playground-config').textContent);
const storage = createStorage();
const plugins = [DOC_EXPLORER_PLUGIN, HISTORY_PLUGIN];
const newTabQuery = '# Ctrl+Space completes, Ctrl+Enter runs.\n\n';

// An empty string would count as "no headers", while undefined lets the defaults in.
const exampleTabs = config.tabs.map((tab) => ({
  query: tab.query,
  variables: tab.variables || undefined,
  headers: tab.headers || undefined,
}));

// The page's policy lets it load pictures of its own origin alone, so pictures elsewhere are not previewed.
const isPicture = ImagePreview.shouldRender;
ImagePreview.shouldRender = (token) => {
  try {
    const url = new URL(token.string.slice(1, -1), location.href);
    return url.origin === location.origin && isPicture(token);
  } catch {
    return false;
  }
};

function App() {
  const [firstVisit] = useState(() => storage.getItem('graphiql:tabState') === null);
  const [token, setToken] = useState(null);
  const [headers, setHeaders] = useState(config.defaultHeaders);
  const [introspectionError, setIntrospectionError] = useState(null);
  // The token with which the last request was not accepted as signed in; undefined when it was.
  const [refusedToken, setRefusedToken] = useState();
  const fetcher = useMemo(
    () =>
      createFetcher(config.endpoint, {
        onIntrospection: setIntrospectionError,
        onResult: (result, sent) => setRefusedToken(isUnauthenticated(result) ? tokenOf(sent ?? {}) : undefined),
      }),
    [],
  );

  return (
    <GraphiQLProvider
      fetcher={fetcher}
      storage={storage}
      defaultTabs={exampleTabs.length > 0 ? exampleTabs : undefined}
      defaultQuery={newTabQuery}
      defaultHeaders={withAuthorization(config.defaultHeaders, token)}
      shouldPersistHeaders={false}
      inputValueDeprecation
      schemaDescription
      plugins={plugins}
      referencePlugin={DOC_EXPLORER_PLUGIN}
    >
      <HistoryContextProvider>
        <DocExplorerContextProvider>
          <Bar
            config={config}
            firstVisit={firstVisit}
            headers={headers}
            onToken={setToken}
            introspectionError={introspectionError}
            refusedToken={refusedToken}
          />
          <GraphiQLInterface
            defaultEditorToolsVisibility
            showPersistHeadersSettings={false}
            onEditHeaders={setHeaders}
          >
            <GraphiQL.Logo>
              <span className="playground-mark">GraphiQL</span>
            </GraphiQL.Logo>
          </GraphiQLInterface>
        </DocExplorerContextProvider>
      </HistoryContextProvider>
    </GraphiQLProvider>
  );
}

function isUnauthenticated(result) {
  return Boolean(result?.errors?.some?.((error) => error?.extensions?.code === 'UNAUTHENTICATED'));
}

class Guard extends Component {
  state = { error: null };

  static getDerivedStateFromError(error) {
    return { error };
  }

  render() {
    if (!this.state.error) {
      return this.props.children;
    }
    return (
      <div className="playground-message" role="alert">
        <p>The Playground stopped: {String(this.state.error?.message ?? this.state.error)}</p>
        <p>
          Loading the page again usually helps. If it does not, what this browser has stored for the Playground may be
          damaged.
        </p>
        <button
          type="button"
          onClick={() => {
            storage.clear();
            location.reload();
          }}
        >
          Clear what is stored and load again
        </button>
      </div>
    );
  }
}

createRoot(document.getElementById('playground')).render(
  <Guard>
    <App />
  </Guard>,
);
