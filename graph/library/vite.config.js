// Builds what graph/static/graph/library/ holds, and nothing else; `make library` runs it.

import { defineConfig } from 'vite';

export default defineConfig({
  base: './', // wherever STATIC_URL is
  build: {
    outDir: '../static/graph/library',
    emptyOutDir: true,
    license: { fileName: 'LICENSES.md' },
    modulePreload: { polyfill: false },
    target: 'es2023',
    rolldownOptions: {
      input: { library: 'src/main.tsx' },
      output: { entryFileNames: '[name].js', assetFileNames: '[name][extname]' },
    },
  },
});
