(() => {
  'use strict';

  const DEFAULT_QUERY = `# Welcome to Coffer.
# Signed in on this site? Just run the query.
# Otherwise:
#   1. make a token, on the server:
#        python manage.py create_token USERNAME
#   2. paste it into the Headers tab below:
#        {"Authorization": "Bearer YOUR-TOKEN"}
#   3. run the query: Ctrl-Enter
# No documentation on the left? Re-fetch the
# schema: the round arrow, at the bottom.

query Welcome {
  uploadProfiles {
    name
  }
  files(first: 10) {
    totalCount
    edges {
      node {
        id
        name
        contentType
        size
      }
    }
  }
}
`;

  const container = document.getElementById('graphiql');
  const csrfToken = document.querySelector('meta[name="csrf-token"]').content;

  function showError(text) {
    const notice = document.createElement('p');
    notice.className = 'notice';
    notice.textContent = text;
    container.replaceChildren(notice);
  }

  async function fetcher(params, options) {
    const headers = new Headers({
      Accept: 'application/graphql-response+json, application/json;q=0.9',
      'Content-Type': 'application/json',
      'X-Requested-With': 'XMLHttpRequest',
    });
    if (csrfToken) headers.set('X-CSRFToken', csrfToken);
    for (const [name, value] of Object.entries(options?.headers ?? {})) {
      headers.set(name, String(value));
    }
    const response = await fetch(location.pathname, {
      method: 'POST',
      headers,
      body: JSON.stringify(params),
      // A token must stand alone: with the cookie beside it, a wrong token could pass for a right one.
      credentials: headers.has('Authorization') ? 'omit' : 'same-origin',
    });
    const text = await response.text();
    try {
      return JSON.parse(text);
    } catch {
      const message = `HTTP ${response.status}, and the answer is not JSON: ${text.slice(0, 1000)}`;
      return { errors: [{ message }] };
    }
  }

  // GraphiQL's history keeps the headers of each query, whatever shouldPersistHeaders says:
  // without this a pasted token would stay in localStorage.
  function withoutHeaders(value) {
    try {
      return JSON.stringify(JSON.parse(value, (key, item) => (key === 'headers' ? undefined : item)));
    } catch {
      return value;
    }
  }

  function safeStorage() {
    const stored = window.localStorage;
    const ours = () => Object.keys(stored).filter((key) => key.startsWith('graphiql:'));
    return {
      getItem: (key) => stored.getItem(key),
      setItem: (key, value) => {
        const isHistory = key === 'graphiql:queries' || key === 'graphiql:favorites';
        stored.setItem(key, isHistory ? withoutHeaders(value) : value);
      },
      removeItem: (key) => stored.removeItem(key),
      clear: () => ours().forEach((key) => stored.removeItem(key)),
      get length() {
        return ours().length;
      },
    };
  }

  try {
    ReactDOM.createRoot(container).render(
      React.createElement(GraphiQL, {
        fetcher,
        storage: safeStorage(),
        shouldPersistHeaders: false,
        defaultQuery: DEFAULT_QUERY,
        defaultEditorToolsVisibility: 'headers',
        plugins: [GraphiQLPluginExplorer.explorerPlugin()],
      }),
    );
  } catch (error) {
    showError(`GraphiQL could not start: ${error.message}`);
    throw error;
  }
})();
