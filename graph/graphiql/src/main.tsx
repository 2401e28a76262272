// The page: GraphiQL, with what Coffer adds to it.

import '@graphiql/react/style.css';
import 'graphiql/graphiql.css';
import '@graphiql/plugin-doc-explorer/style.css';
import '@graphiql/plugin-history/style.css';
import '@graphiql/plugin-explorer/style.css';
import './page.css';
import './workers/index.ts';

import { explorerPlugin } from '@graphiql/plugin-explorer';
import { HISTORY_PLUGIN } from '@graphiql/plugin-history';
import { GraphiQL } from 'graphiql';
import { createRoot } from 'react-dom/client';

import { FILES } from './files.tsx';
import { fetcher } from './send.ts';
import { useFiles } from './state.ts';
import { storage } from './storage.ts';
import { TABS } from './tabs.ts';

const container = document.getElementById('graphiql');
if (!container) throw new Error('The page has no place for GraphiQL.');
const { introspection, signIn, user } = container.dataset;

// `/graphql#query=…&variables=…` opens that operation.
const address = new URLSearchParams(location.hash.slice(1));
const linked = address.has('query')
  ? { query: address.get('query') ?? '', variables: address.get('variables') ?? '' }
  : undefined;
const isFirstVisit = storage.getItem('graphiql:tabState') === null;

const PLUGINS = [FILES, HISTORY_PLUGIN, explorerPlugin()];

createRoot(container).render(
  <GraphiQL
    fetcher={fetcher}
    plugins={PLUGINS}
    visiblePlugin={storage.getItem('graphiql:visiblePlugin') ?? FILES} // it opens none on its own
    storage={storage}
    shouldPersistHeaders={false}
    defaultTabs={linked ? [linked] : TABS}
    initialQuery={linked?.query}
    initialVariables={linked?.variables ?? (isFirstVisit ? TABS[0]?.variables : undefined)}
    defaultEditorToolsVisibility="variables"
    customScalarSchemas={{ JSON: {}, Upload: {} }}
    schema={introspection === 'off' ? null : undefined}
    onSchemaChange={(schema) => useFiles.setState({ schema })}
  >
    <GraphiQL.Logo>
      <span className="page-user">{user ? `Signed in as ${user}` : <a href={signIn}>Sign in</a>}</span>
    </GraphiQL.Logo>
    {introspection === 'off' && (
      <GraphiQL.Footer>
        <p className="page-notice">
          This service does not tell its schema, so there are no docs, no completion, and no proposals for files in
          input objects. Start it with INTROSPECTION=True to have them.
        </p>
      </GraphiQL.Footer>
    )}
  </GraphiQL>,
);
