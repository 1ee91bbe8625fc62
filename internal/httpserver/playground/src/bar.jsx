import { useEffect, useRef, useState } from 'react';
import { ChevronDownIcon, DropdownMenu, useEditorContext, useSchemaStore } from '@graphiql/react';
import { messagesOf, post } from './fetcher.js';
import { tokenIn, withAuthorization } from './headers.js';

const signInMutation =
  'mutation($input: SignInInput!) { signIn(input: $input) { tokens { accessToken } userErrors { message } } }';

async function signIn(endpoint, { email, password }) {
  const result = await post(endpoint, { query: signInMutation, variables: { input: { email, password } } });
  const payload = result.data?.signIn;
  const problem =
    messagesOf(result) || (payload?.userErrors ?? []).map((userError) => userError.message).join('; ');
  const token = payload?.tokens?.accessToken;
  if (problem || !token) {
    throw new Error(problem || 'the answer has no access token');
  }
  return token;
}

/** The bar above GraphiQL: title, examples, signing in with a demo account, and what went wrong. */
export function Bar({ config, firstVisit, headers, onToken, introspectionError, refusedToken }) {
  const editor = useEditorContext({ nonNull: true });
  const { introspect, isFetching } = useSchemaStore();
  // One token for each account that was picked, by its place in config.accounts.
  const [tokens, setTokens] = useState({});
  const [pending, setPending] = useState(null);
  const [failure, setFailure] = useState(null);
  const openExample = useExamples(editor, config, firstVisit);

  // What stands in the headers editor is what is sent, so it alone tells who is signed in.
  const token = tokenIn(headers);
  const account = config.accounts.findIndex((_, index) => token !== null && tokens[index] === token);
  const selected = pending ?? (token === null ? 'out' : account >= 0 ? String(account) : 'own');

  function authorize(newToken) {
    // GraphiQL offers no way to write into tabs in the background; the object of a tab is its state until it is opened.
    for (const tab of editor.tabs) {
      tab.headers = withAuthorization(tab.headers ?? config.defaultHeaders, newToken);
    }
    editor.headerEditor?.setValue(withAuthorization(editor.headerEditor.getValue(), newToken));
    onToken(newToken);
    if (introspectionError) {
      introspect();
    }
  }

  async function choose(choice) {
    setFailure(null);
    if (choice === 'out') {
      authorize(null);
      return;
    }
    const chosen = config.accounts[Number(choice)];
    setPending(choice);
    try {
      const newToken = await signIn(config.endpoint, chosen);
      setTokens((current) => ({ ...current, [choice]: newToken }));
      authorize(newToken);
    } catch (error) {
      setFailure(`Signing in as ${chosen.label} failed: ${error.message}`);
    } finally {
      setPending(null);
    }
  }

  return (
    <header className="playground-head">
      <div className="playground-bar">
        <h1 className="playground-title">{config.title}</h1>
        {config.tabs.length > 0 && (
          <DropdownMenu>
            <DropdownMenu.Button className="playground-control" aria-label="Examples">
              Examples
              <ChevronDownIcon className="playground-chevron" aria-hidden="true" />
            </DropdownMenu.Button>
            <DropdownMenu.Content align="start" className="playground-menu">
              {config.tabs.map((tab, index) => (
                <DropdownMenu.Item key={index} onSelect={() => openExample(tab)}>
                  {tab.title}
                </DropdownMenu.Item>
              ))}
            </DropdownMenu.Content>
          </DropdownMenu>
        )}
        {config.accounts.length > 0 && (
          <label className="playground-account">
            <span>Sign in as</span>
            <select
              className="playground-control"
              value={selected}
              disabled={pending !== null}
              onChange={(event) => choose(event.currentTarget.value)}
            >
              <option value="out">Signed out</option>
              {selected === 'own' && (
                <option value="own" disabled>
                  A token of your own
                </option>
              )}
              {config.accounts.map((item, index) => (
                <option key={index} value={String(index)}>
                  {item.label}
                </option>
              ))}
            </select>
          </label>
        )}
      </div>
      <div role="status">
        {failure && <Notice kind="error" text={failure} />}
        {refusedToken === token && config.accounts.length > 0 && (
          <Notice
            kind="info"
            text={
              account >= 0
                ? `The server no longer accepts the token of ${config.accounts[account].label}.`
                : 'This needs somebody who is signed in: choose an account above and run it again.'
            }
            action={account >= 0 && { label: 'Sign in again', run: () => choose(String(account)) }}
          />
        )}
        {introspectionError && (
          <Notice
            kind="info"
            text={
              introspectionError.refused
                ? `This server does not show its schema (${introspectionError.message}). Queries run as usual; documentation, completion and checks while typing are off.`
                : `The schema could not be loaded: ${introspectionError.message}`
            }
            action={{ label: isFetching ? 'Trying…' : 'Try again', run: introspect }}
          />
        )}
      </div>
    </header>
  );
}

function Notice({ kind, text, action }) {
  return (
    <div className={`playground-notice playground-notice-${kind}`}>
      <span>{text}</span>
      {action && (
        <button type="button" className="playground-control" onClick={action.run}>
          {action.label}
        </button>
      )}
    </div>
  );
}

/** Shows the first example in full on the first visit, and gives a function that opens an example in a new tab. */
function useExamples(editor, config, firstVisit) {
  const { addTab, changeTab, tabs, activeTabIndex, queryEditor, variableEditor, headerEditor, responseEditor } = editor;
  const ready = Boolean(queryEditor && variableEditor && headerEditor && responseEditor);

  // GraphiQL starts with the query of the first tab but leaves its variables and headers out.
  const shown = useRef(!firstVisit);
  useEffect(() => {
    if (ready && !shown.current) {
      shown.current = true;
      changeTab(0);
    }
  }, [ready, changeTab]);

  // A new tab is added empty; it is filled once it is the active one.
  const opening = useRef(null);
  useEffect(() => {
    const example = opening.current;
    if (!example) {
      return;
    }
    opening.current = null;
    queryEditor.setValue(example.query);
    variableEditor.setValue(example.variables);
    if (example.headers) {
      headerEditor.setValue(withAuthorization(example.headers, tokenIn(headerEditor.getValue())));
    }
  }, [tabs.length, activeTabIndex, queryEditor, variableEditor, headerEditor]);

  return (example) => {
    opening.current = example;
    addTab();
  };
}
