// GraphiQL's way to the service: JSON, or multipart where the operation takes files that were picked.

import type { Fetcher } from '@graphiql/toolkit';
import { type DocumentNode, type OperationDefinitionNode, parse } from 'graphql';

import { type PickedFile, useFiles } from './state.ts';
import { LAST_UPLOAD } from './tabs.ts';
import { leadsInto, operationOf, pathsFor, placesOf, type Variables, withNulls } from './uploads.ts';

type Operation = Parameters<Fetcher>[0];
interface Observer {
  next(answer: Variables): void;
  complete(): void;
}
interface Bound {
  readonly file: File;
  readonly path: string;
}

const { getState, setState } = useFiles;
let lastUpload: string | null = null; // the id of the file that was last uploaded from this page

export const fetcher: Fetcher = (operation, options) => ({
  subscribe(observer: Observer) {
    const request = new XMLHttpRequest(); // unlike fetch, it tells how much was sent
    const answer = (given: Variables): void => {
      observer.next(given);
      observer.complete();
    };
    const refuse = (message: string): void => answer({ errors: [{ message }] });
    try {
      start(request, operation, options?.headers, answer, refuse);
    } catch (reason) {
      queueMicrotask(() => refuse((reason as Error).message)); // GraphiQL first has to know that it subscribed
    }
    return { unsubscribe: () => request.abort() };
  },
});

function start(
  request: XMLHttpRequest,
  operation: Operation,
  headers: Record<string, unknown> | undefined,
  answer: (given: Variables) => void,
  refuse: (message: string) => void,
): void {
  const definition = operationOf(parsed(operation.query), operation.operationName ?? undefined);
  const files = definition ? boundFiles(definition, getState().files) : [];
  const paths = files.map(({ path }) => path);
  const variables = withNulls(withoutPlaceholders((operation.variables ?? {}) as Variables), paths);
  const sent = { ...operation, variables, operationName: definition?.name?.value ?? operation.operationName };
  request.onload = () => answer(read(request));
  request.onerror = () =>
    refuse('There is no answer: the service is down, or the request is larger than MAX_REQUEST_SIZE lets in.');
  request.open('POST', location.pathname);
  setHeaders(request, headers);
  if (files.length) {
    track(request, refuse);
    request.send(multipart(sent, files));
  } else {
    request.setRequestHeader('Content-Type', 'application/json');
    request.send(JSON.stringify(sent));
  }
}

function boundFiles(operation: OperationDefinitionNode, picked: readonly PickedFile[]): Bound[] {
  const places = placesOf(operation, getState().schema);
  const paths = pathsFor(picked.map(({ path }) => path), places);
  const files = picked
    .map(({ file }, number) => ({ file, path: paths[number] ?? '' }))
    .filter(({ path }) => leadsInto(operation, path));
  if (places.length && !files.length) throw new Error('This operation takes a file: pick one in the Files pane.');
  return files;
}

function parsed(query: string): DocumentNode | undefined {
  try {
    return parse(query);
  } catch {
    return undefined; // the service says what is wrong with it
  }
}

function setHeaders(request: XMLHttpRequest, given: Record<string, unknown> = {}): void {
  const headers = new Headers({
    Accept: 'application/graphql-response+json, application/json;q=0.9',
    'X-Requested-With': 'XMLHttpRequest',
    'X-CSRFToken': csrfToken(),
  });
  for (const [name, value] of Object.entries(given)) headers.set(name, String(value));
  headers.delete('Content-Type'); // that of a form has its boundary
  headers.forEach((value, name) => request.setRequestHeader(name, value));
}

/** The cookie's, because it changes when somebody signs in; that of the page before there is a cookie. Over TLS
 * the cookie has the longer name, and one of the other may be left from before. */
function csrfToken(): string {
  const named = (name: string) => new RegExp(`(?:^|; )${name}=([^;]*)`).exec(document.cookie)?.[1];
  const cookie = named('__Host-csrftoken') ?? named('csrftoken');
  return cookie ?? document.querySelector<HTMLMetaElement>('meta[name="csrf-token"]')?.content ?? '';
}

/** The body of the multipart request specification: operations and map come before the files. */
function multipart(operation: object, files: readonly Bound[]): FormData {
  const form = new FormData();
  form.append('operations', JSON.stringify(operation));
  form.append('map', JSON.stringify(Object.fromEntries(files.map(({ path }, number) => [number, [path]]))));
  files.forEach(({ file }, number) => form.append(String(number), file));
  return form;
}

function track(request: XMLHttpRequest, refuse: (message: string) => void): void {
  const cancel = (): void => request.abort();
  setState({ sending: { sent: 0, total: 0, cancel } });
  request.upload.onprogress = ({ loaded, total }) => setState({ sending: { sent: loaded, total, cancel } });
  request.onabort = () => refuse(isAllSent() ? 'Cancelled, after all was sent: look what was kept.' : 'Cancelled.');
  request.addEventListener('load', () => {
    lastUpload = idOfFile(read(request)) ?? lastUpload;
  });
  request.addEventListener('loadend', () => setState({ sending: null }));
}

function isAllSent(): boolean {
  const { sending } = getState();
  return sending !== null && sending.total > 0 && sending.sent >= sending.total;
}

function read({ status, responseText }: XMLHttpRequest): Variables {
  try {
    return JSON.parse(responseText) as Variables;
  } catch {
    return { errors: [{ message: `HTTP ${status}, and the answer is not JSON: ${responseText.slice(0, 1000)}` }] };
  }
}

/** Stands for the id of the last upload in the starter tabs, which cannot know one. */
function withoutPlaceholders(variables: Variables): Variables {
  const text = JSON.stringify(variables);
  const placeholder = JSON.stringify(LAST_UPLOAD);
  if (!text.includes(placeholder)) return variables;
  if (lastUpload === null) {
    throw new Error(`Nothing was uploaded from this page yet: run the tab Upload, or put an id in place of ${LAST_UPLOAD}.`);
  }
  return JSON.parse(text.replaceAll(placeholder, JSON.stringify(lastUpload))) as Variables;
}

/** Of the first File in an answer. */
function idOfFile(value: unknown): string | null {
  if (typeof value !== 'object' || value === null) return null;
  const { __typename, id } = value as Variables;
  if (__typename === 'File' && typeof id === 'string') return id;
  for (const each of Object.values(value)) {
    const found = idOfFile(each);
    if (found !== null) return found;
  }
  return null;
}
