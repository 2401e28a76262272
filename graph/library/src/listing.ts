// The files that are asked for, page by page, and the question behind them.

import { useCallback, useEffect, useRef, useState } from 'preact/hooks';

import { ask, type Variables } from './api.ts';
import { type Card, LIBRARY, type Page } from './documents.ts';
import { tagsOf } from './words.ts';

export const ORDERS = {
  newest: { field: 'CREATED_AT', direction: 'DESC' },
  oldest: { field: 'CREATED_AT', direction: 'ASC' },
  'last changed': { field: 'UPDATED_AT', direction: 'DESC' },
  'by name': { field: 'NAME', direction: 'ASC' },
  largest: { field: 'SIZE', direction: 'DESC' },
} as const;

export interface Wanted {
  readonly name: string;
  readonly kind: string; // '' is any
  readonly tags: string; // with commas between
  readonly isMine: boolean; // the reader's own alone
  readonly order: keyof typeof ORDERS;
}

export const ALL: Wanted = { name: '', kind: '', tags: '', isMine: false, order: 'newest' };

export function variablesOf({ name, kind, tags, isMine, order }: Wanted): Variables {
  const filters = {
    ...(name && { nameContains: name }),
    ...(kind && { kind: [kind] }),
    ...(tagsOf(tags).length && { tags: { all: tagsOf(tags) } }),
    ...(isMine && { ownedByViewer: true }),
  };
  return { filters, order: ORDERS[order] };
}

interface Listing {
  readonly files: readonly Card[];
  readonly total: number | null; // null: not known yet
  readonly next: string | null; // the cursor of the next page
  readonly failure: string;
}

const NOTHING: Listing = { files: [], total: null, next: null, failure: '' };

export function useListing(wanted: Wanted) {
  const [listing, setListing] = useState(NOTHING);
  const question = useRef(0); // answers to earlier ones are not shown
  const isLoading = useRef(false);
  const key = JSON.stringify(variablesOf(wanted));

  const load = useCallback(
    async (after: string | null): Promise<void> => {
      const mine = after === null ? ++question.current : question.current;
      isLoading.current = true;
      try {
        const { files } = await ask<{ files: Page }>(LIBRARY, { ...(JSON.parse(key) as Variables), after });
        if (mine !== question.current) return;
        const cards = files.edges.map(({ node }) => node);
        const next = files.pageInfo.hasNextPage ? files.pageInfo.endCursor : null;
        setListing((before) => ({
          files: after === null ? cards : [...before.files, ...cards],
          total: files.totalCount,
          next,
          failure: '',
        }));
      } catch (reason) {
        if (mine === question.current) setListing((before) => ({ ...before, failure: (reason as Error).message }));
      } finally {
        isLoading.current = false;
      }
    },
    [key],
  );

  const reload = useCallback(() => void load(null), [load]);
  useEffect(reload, [reload]);
  const more = (): void => {
    if (listing.next !== null && !isLoading.current) void load(listing.next);
  };
  /** A file that was changed keeps its place, and one that is gone leaves it: the reader stays where they are. */
  const replace = (id: string, card: Card | null): void =>
    setListing((before) => ({
      ...before,
      files: before.files.flatMap((each) => (each.id !== id ? [each] : card ? [card] : [])),
      total: before.total === null || card ? before.total : before.total - 1,
    }));
  return { ...listing, reload, more, replace };
}
