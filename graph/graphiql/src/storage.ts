// GraphiQL's localStorage, without the headers: a pasted token is not kept in the browser.

import type { Storage } from '@graphiql/toolkit';

const PREFIX = 'graphiql:';
const HISTORY = [`${PREFIX}queries`, `${PREFIX}favorites`]; // keep the headers of each query, whatever is set

function withoutHeaders(value: string): string {
  try {
    return JSON.stringify(JSON.parse(value, (key, item: unknown) => (key === 'headers' ? undefined : item)));
  } catch {
    return value;
  }
}

const ours = (): string[] => Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));

export const storage: Storage = {
  getItem: (key) => localStorage.getItem(key),
  setItem: (key, value) => localStorage.setItem(key, HISTORY.includes(key) ? withoutHeaders(value) : value),
  removeItem: (key) => localStorage.removeItem(key),
  clear: () => ours().forEach((key) => localStorage.removeItem(key)),
  get length() {
    return ours().length;
  },
};
