// The drawer of one file: what is known of it, and what may be changed.

import { useEffect, useRef, useState } from 'preact/hooks';
import type { TargetedEvent, TargetedMouseEvent } from 'preact';

import { ask, type Variables } from './api.ts';
import {
  type Card,
  DELETE,
  type Details as File_,
  FILE,
  type Point,
  type Profile,
  type Rendition,
  renditionsOf,
  type Result,
  UPDATE,
} from './documents.ts';
import { Picture } from './picture.tsx';
import { CopyButton, Produced } from './produced.tsx';
import { bytes, tagsOf, when } from './words.ts';

interface DetailsProperties {
  id: string;
  profiles: readonly Profile[];
  hasGraphiql: boolean;
  close: () => void;
  changed: (card: Card | null) => void; // null: it is gone
}

export function Details({ id, profiles, hasGraphiql, close, changed }: DetailsProperties) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [file, setFile] = useState<File_ | null>(null);
  const [said, setSaid] = useState('');
  useEffect(() => dialog.current?.showModal(), []);
  useEffect(() => {
    ask<{ file: File_ | null }>(FILE, { id })
      .then((answer) => (answer.file ? setFile(answer.file) : setSaid('There is no such file any more.')))
      .catch((reason: Error) => setSaid(reason.message));
  }, [id]);

  const update = async (input: Variables): Promise<void> => {
    try {
      const { updateFile } = await ask<{ updateFile: Result<File_> }>(UPDATE, { input: { id, ...input } });
      if ('message' in updateFile) return setSaid(updateFile.message);
      setFile(updateFile);
      setSaid('Saved.');
      changed(updateFile);
    } catch (reason) {
      setSaid((reason as Error).message);
    }
  };
  const remove = async (): Promise<void> => {
    if (!confirm(`Delete ${file?.name} for good?`)) return;
    try {
      const [result] = (await ask<{ deleteFiles: Result<object>[] }>(DELETE, { ids: [id] })).deleteFiles;
      if (result && 'message' in result) return setSaid(result.message);
      changed(null);
      dialog.current?.close();
    } catch (reason) {
      setSaid((reason as Error).message);
    }
  };

  return (
    <dialog class="details" ref={dialog} onClose={close} aria-labelledby="details-title">
      <header>
        <h2 id="details-title">{file ? file.title || file.name : 'A file'}</h2>
        <button type="button" onClick={() => dialog.current?.close()}>
          Close
        </button>
      </header>
      {file && (
        <>
          {file.viewerCanChange ? (
            <>
              {file.image && <FocalPicture file={file} choose={(focalPoint) => update({ focalPoint })} />}
              <Form file={file} save={update} />
            </>
          ) : (
            <>
              {file.image && <Shown file={file} />}
              <p class="description">{file.description}</p>
            </>
          )}
          <p role="status">{said}</p>
          <Facts file={file} />
          {file.image && <Renditions id={id} names={presetsOf(file, profiles)} />}
          <p class="address">
            <label>
              Address <input readOnly value={file.url.url} onFocus={({ currentTarget }) => currentTarget.select()} />
            </label>
            <CopyButton text={file.url.url}>Copy address</CopyButton>
            <small>Whoever has it can fetch the file, until {when(file.url.expiresAt)}.</small>
          </p>
          <Produced query={FILE} variables={{ id }} hasGraphiql={hasGraphiql} />
          {file.viewerCanChange && (
            <button type="button" class="danger" onClick={remove}>
              Delete…
            </button>
          )}
        </>
      )}
      {!file && <p role="status">{said || 'Loading…'}</p>}
    </dialog>
  );
}

const presetsOf = (file: File_, profiles: readonly Profile[]): string[] =>
  profiles.find(({ name }) => name === file.profile)?.presets.map(({ name }) => name) ?? [];

function Shown({ file }: { file: File_ }) {
  return <Picture file={file} sizes="(max-width: 640px) 100vw, 560px" alt={file.description ?? ''} />;
}

/** A click says what has to stay in sight where the picture is cut. */
function FocalPicture({ file, choose }: { file: File_; choose: (point: Point) => void }) {
  const point = file.image?.focalPoint ?? { x: 0.5, y: 0.5 };
  const click = (event: TargetedMouseEvent<HTMLElement>): void => {
    const box = event.currentTarget.getBoundingClientRect();
    const part = (at: number, size: number): number => Math.round(Math.min(Math.max(at / size, 0), 1) * 1000) / 1000;
    choose({ x: part(event.clientX - box.left, box.width), y: part(event.clientY - box.top, box.height) });
  };
  const percent = (name: keyof Point, label: string) => (
    <label>
      {label}
      <input
        type="number"
        min="0"
        max="100"
        value={Math.round(point[name] * 100)}
        onChange={({ currentTarget }) => choose({ ...point, [name]: currentTarget.valueAsNumber / 100 })}
      />
      %
    </label>
  );
  return (
    <fieldset class="focal">
      <legend>Focal point: click what has to stay in sight</legend>
      <div class="focal-picture" onClick={click}>
        <Shown file={file} />
        <span class="focal-point" style={{ left: `${point.x * 100}%`, top: `${point.y * 100}%` }} />
      </div>
      {percent('x', 'From the left')}
      {percent('y', 'From the top')}
    </fieldset>
  );
}

function Form({ file, save }: { file: File_; save: (input: Variables) => void }) {
  const { title, description, tags, visibility } = file;
  const submit = (event: TargetedEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const given = new FormData(event.currentTarget);
    const text = (name: string): string => String(given.get(name) ?? '').trim();
    save({
      title: text('title') || null,
      description: text('description') || null,
      tags: tagsOf(text('tags')),
      visibility: text('visibility'),
    });
  };
  return (
    <form onSubmit={submit} key={[title, description, tags, visibility].join('\n')}>
      <label>
        Title <input name="title" defaultValue={title ?? ''} />
      </label>
      <label>
        Description <textarea name="description" rows={2} defaultValue={description ?? ''} />
      </label>
      <label>
        Tags, with commas between <input name="tags" defaultValue={tags.join(', ')} />
      </label>
      <label>
        Seen by{' '}
        <select name="visibility">
          <option value="PRIVATE">its owner and staff</option>
          <option value="PUBLIC" selected={visibility === 'PUBLIC'}>
            anyone
          </option>
        </select>
      </label>
      <button type="submit">Save</button>
    </form>
  );
}

function Facts({ file }: { file: File_ }) {
  const { image } = file;
  const facts: [string, string][] = [
    ['Name', file.name],
    ['Type', file.contentType],
    ['Size', bytes(file.size)],
    ...(image ? [['Pixels', `${image.width} × ${image.height}`] as [string, string]] : []),
    ...(file.tags.length && !file.viewerCanChange ? [['Tags', file.tags.join(', ')] as [string, string]] : []),
    ['Profile', file.profile],
    ['Owner', file.owner?.username ?? 'nobody'],
    ['Received', when(file.createdAt)],
    ['Changed', when(file.updatedAt)],
    ['SHA-256', file.sha256],
  ];
  return (
    <dl>
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Renditions({ id, names }: { id: string; names: readonly string[] }) {
  const [renditions, setRenditions] = useState<readonly Rendition[]>([]);
  useEffect(() => {
    if (!names.length) return;
    ask<{ file: { image: Record<string, Rendition> } }>(renditionsOf(names), { id }).then(({ file }) =>
      setRenditions(Object.values(file.image)),
    );
  }, [id, names.join()]);
  if (!renditions.length) return null;
  return (
    <>
      <h3>Renditions</h3>
      <ul>
        {renditions.map(({ url, width, height }, number) => (
          <li key={url}>
            <a href={url}>{names[number]}</a> {width} × {height}
          </li>
        ))}
      </ul>
    </>
  );
}
