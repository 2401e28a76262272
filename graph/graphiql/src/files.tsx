// The Files pane: what is picked, where in the variables it goes, and how far it has been sent.

import { CloseIcon, type GraphiQLPlugin, useGraphiQL } from '@graphiql/react';
import { type DragEvent, useId, useState } from 'react';

import { add, bind, type PickedFile, remove, type Sending, useFiles } from './state.ts';
import { leadsInto, operationOf, pathsFor, placesOf, proposals } from './uploads.ts';

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];

function bytes(size: number): string {
  const power = size < 1024 ? 0 : Math.min(Math.floor(Math.log2(size) / 10), UNITS.length - 1);
  return `${(size / 1024 ** power).toFixed(power && 1)} ${UNITS[power]}`;
}

function Icon() {
  return (
    <svg viewBox="0 0 20 20" fill="none" stroke="currentColor" strokeWidth="1.5" height="1em" aria-hidden="true">
      <path d="M16.5 9.5l-6.6 6.6a4 4 0 01-5.7-5.7l7.1-7.1a2.7 2.7 0 013.8 3.8l-7.1 7.1a1.3 1.3 0 01-1.9-1.9l6.1-6.1" />
    </svg>
  );
}

function Files() {
  const { files, sending } = useFiles();
  const document = useGraphiQL((state) => state.documentAST);
  const name = useGraphiQL((state) => state.operationName);
  const schema = useGraphiQL((state) => state.schema);
  const operation = operationOf(document, name);
  const places = placesOf(operation, schema);
  const paths = pathsFor(files.map(({ path }) => path), places);
  return (
    <section className="files" aria-label="Files">
      <div className="graphiql-doc-explorer-header files-title">Files</div>
      <Picker />
      {files.map((picked, number) => (
        <Picked
          key={picked.id}
          picked={picked}
          path={paths[number] ?? ''}
          isSent={!!operation && leadsInto(operation, paths[number] ?? '')}
          proposed={proposals(places, files.length)}
        />
      ))}
      {files.length > 0 && !places.length && (
        <p className="files-hint">This operation has no variable of type Upload: the files stay here.</p>
      )}
      {files.length > 1 && !sending && (
        <button type="button" className="graphiql-button" onClick={() => remove(files)}>
          Remove all
        </button>
      )}
      {sending && <Progress sending={sending} />}
    </section>
  );
}

function Picker() {
  const [isOver, setOver] = useState(false);
  const drop = (event: DragEvent): void => {
    event.preventDefault();
    setOver(false);
    add(event.dataTransfer.files);
  };
  const over = (event: DragEvent): void => {
    event.preventDefault();
    setOver(true);
  };
  return (
    <label className="files-picker" data-over={isOver} onDrop={drop} onDragOver={over} onDragLeave={() => setOver(false)}>
      <input
        type="file"
        multiple
        onChange={({ currentTarget }) => {
          add(currentTarget.files ?? []);
          currentTarget.value = ''; // so that the same file can be picked again
        }}
      />
      Pick files, or drop them here
    </label>
  );
}

interface PickedProperties {
  picked: PickedFile;
  path: string;
  isSent: boolean;
  proposed: readonly string[];
}

function Picked({ picked, path, isSent, proposed }: PickedProperties) {
  const list = useId();
  const { file, id } = picked;
  return (
    <article className="files-item" aria-label={file.name}>
      <Preview picked={picked} />
      <div className="files-about">
        <strong title={file.name}>{file.name}</strong>
        <span>{bytes(file.size)}</span>
        <input
          aria-label={`Variable for ${file.name}`}
          list={list}
          value={path}
          placeholder="not sent"
          aria-invalid={path !== '' && !isSent}
          onChange={({ currentTarget }) => bind(id, currentTarget.value)}
          onFocus={({ currentTarget }) => currentTarget.select()}
        />
        <datalist id={list}>
          {proposed.map((each) => (
            <option key={each} value={each} />
          ))}
        </datalist>
        {path !== '' && !isSent && <span>Not sent: the operation has no such variable.</span>}
      </div>
      <button type="button" className="graphiql-un-styled" aria-label={`Remove ${file.name}`} onClick={() => remove([picked])}>
        <CloseIcon />
      </button>
    </article>
  );
}

function Preview({ picked: { file, address } }: { picked: PickedFile }) {
  const [isShown, setShown] = useState(file.type.startsWith('image/'));
  const ending = /\.(\w{1,5})$/.exec(file.name)?.[1] ?? '';
  if (!isShown) return <span className="files-preview">{ending}</span>;
  return <img className="files-preview" src={address} alt="" onError={() => setShown(false)} />;
}

function Progress({ sending: { sent, total, cancel } }: { sending: Sending }) {
  const isDone = total > 0 && sent >= total;
  return (
    <div className="files-progress">
      <progress aria-label="Sent" max={total || 1} value={isDone ? undefined : sent} />
      <span>{isDone ? 'All sent; waiting for the answer' : `${bytes(sent)} of ${bytes(total)}`}</span>
      <button type="button" className="graphiql-button" onClick={cancel}>
        Cancel
      </button>
    </div>
  );
}

export const FILES: GraphiQLPlugin = { title: 'Files', icon: Icon, content: Files };
