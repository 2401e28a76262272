// The three workers of the editors, each a file beside this one: the page's policy allows no others.

const FOLDER = import.meta.url;

self.MonacoEnvironment = {
  getWorker(_: string, label: string) {
    const name = label === 'json' || label === 'graphql' ? label : 'editor';
    return new Worker(new URL(`${name}.worker.js`, FOLDER), { type: 'module' });
  },
};
