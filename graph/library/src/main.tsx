// The library: all files that somebody may see, and the way in for new ones.

import './library.css';

import { render } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

import { ask } from './api.ts';
import { Details } from './details.tsx';
import { type Card, LIBRARY, type Profile, PROFILES } from './documents.ts';
import { ALL, ORDERS, useListing, variablesOf, type Wanted } from './listing.ts';
import { Picture } from './picture.tsx';
import { Produced } from './produced.tsx';
import { profileFor, Uploads, useUploads } from './uploads.tsx';
import { bytes, inWords, KINDS } from './words.ts';

const PAUSE = 250; // milliseconds without a key, after which a search is worth a request

function Library({ hasGraphiql }: { hasGraphiql: boolean }) {
  const [wanted, setWanted] = useState(ALL);
  const [opened, setOpened] = useState<string | null>(null);
  const [profiles, setProfiles] = useState<readonly Profile[]>([]);
  const listing = useListing(wanted);
  const uploads = useUploads(listing.reload);
  useEffect(() => {
    ask<{ uploadProfiles: Profile[] }>(PROFILES).then((answer) => setProfiles(answer.uploadProfiles));
  }, []);
  return (
    <>
      <Picker profiles={profiles} add={uploads.add} />
      <Uploads {...uploads} />
      <Filters wanted={wanted} want={setWanted} />
      <p role="status">{listing.failure || (listing.total === null ? 'Loading…' : counted(listing.total))}</p>
      <ul class="grid" aria-label="Files">
        {listing.files.map((file) => (
          <li key={file.id}>
            <Item file={file} open={() => setOpened(file.id)} />
          </li>
        ))}
      </ul>
      {listing.next !== null && <More load={listing.more} />}
      <Produced query={LIBRARY} variables={variablesOf(wanted)} hasGraphiql={hasGraphiql} />
      {opened !== null && (
        <Details
          id={opened}
          profiles={profiles}
          hasGraphiql={hasGraphiql}
          close={() => setOpened(null)}
          changed={(card) => listing.replace(opened, card)}
        />
      )}
    </>
  );
}

const counted = (total: number): string => (total === 1 ? '1 file' : `${total} files`);

interface PickerProperties {
  profiles: readonly Profile[];
  add: (files: Iterable<File>, choose: (file: File) => string) => void;
}

/** Files may be dropped anywhere on the page. */
function Picker({ profiles, add }: PickerProperties) {
  const [chosen, setChosen] = useState('');
  const [isOver, setOver] = useState(false);
  const take = (files: Iterable<File>): void => add(files, (file) => chosen || profileFor(file, profiles));
  const latest = useRef(take);
  latest.current = take;
  useEffect(() => {
    const over = (event: DragEvent): void => {
      event.preventDefault();
      setOver(event.type === 'dragover');
    };
    const drop = (event: DragEvent): void => {
      over(event);
      latest.current(event.dataTransfer?.files ?? []);
    };
    document.addEventListener('dragover', over);
    document.addEventListener('dragleave', over);
    document.addEventListener('drop', drop);
    return () => {
      document.removeEventListener('dragover', over);
      document.removeEventListener('dragleave', over);
      document.removeEventListener('drop', drop);
    };
  }, []);
  return (
    <section class="picker" data-over={isOver} aria-label="Upload">
      <label class="pick">
        <input
          type="file"
          multiple
          onChange={({ currentTarget }) => {
            take(currentTarget.files ?? []);
            currentTarget.value = ''; // so that the same file can be picked again
          }}
        />
        Pick files, or drop them anywhere
      </label>
      <label>
        Profile{' '}
        <select value={chosen} onChange={({ currentTarget }) => setChosen(currentTarget.value)}>
          <option value="">by the file's type</option>
          {profiles.map(({ name, description, maxSize }) => (
            <option key={name} value={name} title={description}>
              {name}, up to {bytes(maxSize)}
            </option>
          ))}
        </select>
      </label>
    </section>
  );
}

function Filters({ wanted, want }: { wanted: Wanted; want: (wanted: Wanted) => void }) {
  const [typed, setTyped] = useState(wanted);
  useEffect(() => {
    const timer = setTimeout(() => want(typed), PAUSE);
    return () => clearTimeout(timer);
  }, [typed]);
  return (
    <search class="filters">
      <label>
        Name
        <input
          type="search"
          value={typed.name}
          onInput={({ currentTarget }) => setTyped({ ...typed, name: currentTarget.value })}
        />
      </label>
      <label>
        Tags
        <input
          type="search"
          value={typed.tags}
          onInput={({ currentTarget }) => setTyped({ ...typed, tags: currentTarget.value })}
        />
      </label>
      <label>
        Kind
        <select value={typed.kind} onChange={({ currentTarget }) => setTyped({ ...typed, kind: currentTarget.value })}>
          <option value="">any</option>
          {KINDS.map((kind) => (
            <option key={kind} value={kind}>
              {inWords(kind)}
            </option>
          ))}
        </select>
      </label>
      <label class="check">
        <input
          type="checkbox"
          checked={typed.isMine}
          onChange={({ currentTarget }) => setTyped({ ...typed, isMine: currentTarget.checked })}
        />
        Only mine
      </label>
      <label>
        Order
        <select
          value={typed.order}
          onChange={({ currentTarget }) => setTyped({ ...typed, order: currentTarget.value as Wanted['order'] })}
        >
          {Object.keys(ORDERS).map((order) => (
            <option key={order}>{order}</option>
          ))}
        </select>
      </label>
    </search>
  );
}

function Item({ file, open }: { file: Card; open: () => void }) {
  return (
    <button type="button" class="item" onClick={open}>
      <Picture file={file} sizes="(max-width: 640px) 50vw, 240px" alt="" />
      <span class="name">{file.title || file.name}</span>
      <span class="size">{bytes(file.size)}</span>
    </button>
  );
}

/** Loads when it comes into sight, and by hand. */
function More({ load }: { load: () => void }) {
  const button = useRef<HTMLButtonElement>(null);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const observer = new IntersectionObserver(([entry]) => entry?.isIntersecting && latest.current(), {
      rootMargin: '400px',
    });
    if (button.current) observer.observe(button.current);
    return () => observer.disconnect();
  }, [load]); // afresh after each page: one that did not push it out of sight is followed by the next
  return (
    <button type="button" ref={button} onClick={load}>
      More
    </button>
  );
}

const container = document.getElementById('library');
if (!container) throw new Error('The page has no place for the library.');
render(<Library hasGraphiql={container.dataset.graphiql === 'on'} />, container);
