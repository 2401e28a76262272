// The way to the service: GraphQL alone, as the page's own session.

const ADDRESS = '/graphql';
const NO_ANSWER = 'There is no answer: the service is down, or the file is larger than it lets in.';

export type Variables = Record<string, unknown>;

interface Answer<T> {
  data?: T | null;
  errors?: { message: string }[];
}

export interface Upload<T> {
  readonly done: Promise<T>;
  readonly cancel: () => void;
}

/** Over TLS the cookie has the longer name, and one of the other may be left from before. */
function csrfToken(): string {
  const named = (name: string) => new RegExp(`(?:^|; )${name}=([^;]*)`).exec(document.cookie)?.[1];
  return named('__Host-csrftoken') ?? named('csrftoken') ?? '';
}

function headers(): Record<string, string> {
  return { Accept: 'application/json', 'X-CSRFToken': csrfToken(), 'X-Requested-With': 'XMLHttpRequest' };
}

function data<T>({ data, errors }: Answer<T>): T {
  if (errors?.length || !data) throw new Error(errors?.map(({ message }) => message).join(' ') ?? NO_ANSWER);
  return data;
}

export async function ask<T>(query: string, variables: Variables = {}): Promise<T> {
  const response = await fetch(ADDRESS, {
    method: 'POST',
    headers: { ...headers(), 'Content-Type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  });
  return data((await response.json()) as Answer<T>);
}

/** One file at `variables.input.file`; `progress` is told the part that was sent, 0 to 1. */
export function upload<T>(query: string, input: Variables, file: File, progress: (part: number) => void): Upload<T> {
  const request = new XMLHttpRequest(); // unlike fetch, it tells how much was sent
  const form = new FormData();
  form.append('operations', JSON.stringify({ query, variables: { input: { ...input, file: null } } }));
  form.append('map', '{"0": ["variables.input.file"]}');
  form.append('0', file);
  const done = new Promise<T>((resolve, reject) => {
    request.upload.onprogress = ({ loaded, total }) => progress(loaded / total);
    request.onerror = () => reject(new Error(NO_ANSWER));
    request.onabort = () => reject(new Error('Cancelled.'));
    request.onload = () => {
      try {
        resolve(data(JSON.parse(request.responseText) as Answer<T>));
      } catch (reason) {
        reject(reason instanceof SyntaxError ? new Error(`HTTP ${request.status}.`) : reason);
      }
    };
  });
  request.open('POST', ADDRESS);
  for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
  request.send(form);
  return { done, cancel: () => request.abort() };
}
