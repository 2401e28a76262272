// Builds what graph/static/graph/graphiql/ holds, and nothing else; `make graphiql` runs it.

import { fileURLToPath } from 'node:url';

import { defineConfig } from 'vite';

const source = (name) => fileURLToPath(new URL(`src/${name}`, import.meta.url));
const WORKERS = ['editor', 'json', 'graphql'];


// GraphiQL asks for all of Monaco and all of Prettier; these have what it uses.
const LESS = [
  [/^(monaco-graphql\/esm|\.)\/monaco-editor(\.js)?$/, source('monaco.ts')],
  [/\/(diffEditorWidget|multiDiffEditorWidget)\.js$/, source('no-diff.ts')],
  [/^prettier\/(standalone|plugins\/estree|parser-babel)$/, source('prettier.ts')],
];

export default defineConfig({
  base: './', // wherever STATIC_URL is
  plugins: [
    {
      name: 'less-of-monaco-and-prettier',
      enforce: 'pre',
      resolveId: (id, importer) =>
        importer?.includes('node_modules') ? LESS.find(([pattern]) => pattern.test(id))?.[1] : null,
    },
  ],
  build: {
    outDir: '../static/graph/graphiql',
    emptyOutDir: true,
    assetsInlineLimit: 0, // the policy of the page knows no data: scripts or fonts
    cssCodeSplit: false,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 4000, // kB; the editor is that large
    license: { fileName: 'LICENSES.md' },
    target: 'es2023',
    rolldownOptions: {
      // Workers are entries beside the page, not builds of their own: what they have in common is shipped once.
      input: Object.fromEntries([
        ['graphiql', source('main.tsx')],
        ...WORKERS.map((name) => [`${name}.worker`, source(`workers/${name}.ts`)]),
      ]),
      output: {
        entryFileNames: '[name].js',
        chunkFileNames: '[name].js',
        assetFileNames: ({ names }) => (names[0]?.endsWith('.css') ? 'graphiql.css' : '[name][extname]'),
      },
    },
  },
});
