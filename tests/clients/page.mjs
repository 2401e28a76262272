// What a page of the service's own origin has: its cookies, which are sent by themselves, and relative addresses.

const { ORIGIN, SESSION, CSRF_TOKEN } = process.env;
const Cookie = `sessionid=${SESSION}; csrftoken=${CSRF_TOKEN}`;
const { fetch } = globalThis;

globalThis.document = { cookie: `theme=dark; csrftoken=${CSRF_TOKEN}` };
globalThis.fetch = (address, { headers, ...options }) =>
  fetch(new URL(address, ORIGIN), { ...options, headers: { ...headers, Cookie, Origin: ORIGIN } });
