// What the Files pane shows and the fetcher sends.

import type { GraphQLSchema } from 'graphql';
import { create } from 'zustand';

export interface PickedFile {
  readonly id: number;
  readonly file: File;
  readonly address: string; // an object URL, for the preview
  readonly path: string | null; // null: whatever is proposed
}

export interface Sending {
  readonly sent: number; // bytes
  readonly total: number; // bytes
  readonly cancel: () => void;
}

interface State {
  readonly files: readonly PickedFile[];
  readonly sending: Sending | null;
  readonly schema: GraphQLSchema | null;
}

export const useFiles = create<State>(() => ({ files: [], sending: null, schema: null }));

const { getState, setState } = useFiles;
let lastId = 0;

export function add(files: Iterable<File>): void {
  const picked = Array.from(files, (file) => ({
    id: ++lastId,
    file,
    address: URL.createObjectURL(file),
    path: null,
  }));
  setState({ files: [...getState().files, ...picked] });
}

export function remove(gone: readonly PickedFile[]): void {
  gone.forEach(({ address }) => URL.revokeObjectURL(address));
  setState({ files: getState().files.filter((each) => !gone.includes(each)) });
}

export function bind(id: number, path: string | null): void {
  setState({ files: getState().files.map((each) => (each.id === id ? { ...each, path } : each)) });
}
