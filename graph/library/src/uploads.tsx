// What is being sent: a bar for each file, and what the service said of it.

import { useRef, useState } from 'preact/hooks';

import { type Upload, upload } from './api.ts';
import { type Card, type Profile, type Result, UPLOAD } from './documents.ts';
import { bytes } from './words.ts';

const AT_ONCE = 3; // requests; a browser opens six connections to a host, and the grid needs some

interface Item {
  readonly id: number;
  readonly file: File;
  readonly profile: string;
  part: number; // that was sent, 0 to 1
  state: 'waits' | 'is sent' | 'kept' | 'refused';
  said: string;
  cancel?: () => void;
}

type Uploaded = { uploadFile: Result<Card> };

/** The first profile that names the file's type and keeps it as it is; else the one for all files. */
export function profileFor(file: File, profiles: readonly Profile[]): string {
  const fits = profiles.find(({ types, maxWidth }) => maxWidth === null && types.includes(file.type));
  return (fits ?? profiles.find(({ types }) => types.includes('*/*')) ?? profiles[0])?.name ?? 'default';
}

/** `finished` is called whenever nothing is left to be sent. */
export function useUploads(finished: () => void) {
  const [items, setItems] = useState<readonly Item[]>([]);
  const queue = useRef<Item[]>([]);
  const lastId = useRef(0);
  const latest = useRef(finished);
  latest.current = finished;
  const show = (): void => setItems([...queue.current]);

  const end = (item: Item, state: Item['state'], said: string): void => {
    Object.assign(item, { state, said, cancel: undefined });
    show();
    next();
  };
  const send = async (item: Item): Promise<void> => {
    const sending: Upload<Uploaded> = upload(UPLOAD, { profile: item.profile }, item.file, (part) => {
      item.part = part;
      show();
    });
    Object.assign(item, { state: 'is sent', cancel: sending.cancel });
    show();
    try {
      const { uploadFile } = await sending.done;
      if ('message' in uploadFile) return end(item, 'refused', uploadFile.message);
      end(item, 'kept', 'Kept.');
    } catch (reason) {
      end(item, 'refused', (reason as Error).message);
    }
  };
  const next = (): void => {
    const busy = queue.current.filter(({ state }) => state === 'is sent').length;
    const waiting = queue.current.filter(({ state }) => state === 'waits');
    waiting.slice(0, AT_ONCE - busy).forEach(send);
    if (!busy && !waiting.length) latest.current();
  };
  const add = (files: Iterable<File>, choose: (file: File) => string): void => {
    for (const file of files) {
      queue.current.push({ id: ++lastId.current, file, profile: choose(file), part: 0, state: 'waits', said: '' });
    }
    show();
    next();
  };
  const clear = (): void => {
    queue.current = queue.current.filter(({ state }) => state === 'waits' || state === 'is sent');
    show();
  };
  return { items, add, clear };
}

export function Uploads({ items, clear }: { items: readonly Item[]; clear: () => void }) {
  if (!items.length) return null;
  return (
    <section class="uploads" aria-label="Uploads">
      <ul>
        {items.map((item) => (
          <li key={item.id} data-state={item.state}>
            <span class="name">{item.file.name}</span>
            <span>{bytes(item.file.size)}</span>
            {item.state === 'is sent' && <progress aria-label={`Sent of ${item.file.name}`} value={item.part} />}
            {item.cancel && (
              <button type="button" aria-label={`Cancel ${item.file.name}`} onClick={item.cancel}>
                Cancel
              </button>
            )}
            <span role="status">{item.said || (item.part === 1 && 'All sent; being checked.')}</span>
          </li>
        ))}
      </ul>
      <button type="button" onClick={clear}>
        Clear list
      </button>
    </section>
  );
}
