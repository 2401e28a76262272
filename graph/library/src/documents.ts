// What the page asks, and the shape of what comes back.

const CARD = `fragment Card on File {
  id
  name
  title
  kind
  contentType
  size
  image {
    width
    height
    thumbhash
    focalPoint { x y }
    srcset(widths: [320, 640, 1280]) { url width }
  }
}`;

const DETAILS = `fragment Details on File {
  ...Card
  description
  tags
  visibility
  profile
  sha256
  createdAt
  updatedAt
  owner { username }
  viewerCanChange
  url { url expiresAt }
}
${CARD}`;

export const LIBRARY = `query Library($filters: FileFilter, $order: FileOrder, $after: String) {
  files(filters: $filters, order: $order, first: 48, after: $after) {
    totalCount
    edges { node { ...Card } }
    pageInfo { hasNextPage endCursor }
  }
}
${CARD}`;

export const FILE = `query File($id: ID!) {
  file(id: $id) { ...Details }
}
${DETAILS}`;

export const PROFILES = `query Profiles {
  uploadProfiles {
    name
    description
    maxSize
    types
    maxWidth
    presets { name }
  }
}`;

export const UPLOAD = `mutation Upload($input: UploadFileInput!) {
  uploadFile(input: $input) {
    __typename
    ... on File { ...Card }
    ... on Error { message }
  }
}
${CARD}`;

export const UPDATE = `mutation Update($input: UpdateFileInput!) {
  updateFile(input: $input) {
    __typename
    ... on File { ...Details }
    ... on Error { message }
  }
}
${DETAILS}`;

export const DELETE = `mutation Delete($ids: [ID!]!) {
  deleteFiles(ids: $ids) {
    __typename
    ... on Error { message }
  }
}`;

/** Of the presets of a profile, whose names are known only once it was asked for. */
export function renditionsOf(presets: readonly string[]): string {
  const fields = presets.map((name, number) => `      p${number}: rendition(preset: ${JSON.stringify(name)}) { url width height }`);
  return ['query Renditions($id: ID!) {', '  file(id: $id) {', '    image {', ...fields, '    }', '  }', '}'].join('\n');
}

export interface Rendition {
  url: string;
  width: number;
  height: number;
}

export interface Point {
  x: number;
  y: number;
}

export interface Card {
  id: string;
  name: string;
  title: string | null;
  kind: string;
  contentType: string;
  size: number;
  image: {
    width: number;
    height: number;
    thumbhash: string;
    focalPoint: Point;
    srcset: Omit<Rendition, 'height'>[];
  } | null;
}

export interface Details extends Card {
  description: string | null;
  tags: string[];
  visibility: 'PRIVATE' | 'PUBLIC';
  profile: string;
  sha256: string;
  createdAt: string;
  updatedAt: string;
  owner: { username: string } | null;
  viewerCanChange: boolean;
  url: { url: string; expiresAt: string };
}

export interface Profile {
  name: string;
  description: string;
  maxSize: number;
  types: string[];
  maxWidth: number | null;
  presets: { name: string }[];
}

export interface Page {
  totalCount: number;
  edges: { node: Card }[];
  pageInfo: { hasNextPage: boolean; endCursor: string | null };
}

/** A member of a result union: what was asked for, or an error in words. */
export type Result<T> = ({ __typename: 'File' | 'DeletedFile' } & T) | { __typename: string; message: string };
