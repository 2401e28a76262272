// What a newcomer finds: one tab for each thing that is done with files.

export const LAST_UPLOAD = 'LAST_UPLOAD';

interface Tab {
  readonly query: string;
  readonly variables: string;
}

function tab(query: string, variables: object): Tab {
  return { query, variables: JSON.stringify(variables, null, 2) };
}

export const TABS: Tab[] = [
  tab(
    `# Pick pictures in the pane Files,
# then run this: Ctrl-Enter.
#
# Without a session, make a token,
#   manage.py create_token NAME
# and put it into Headers, below:
#   {"Authorization": "Bearer …"}

mutation Upload($input: UploadFilesInput!) {
  uploadFiles(input: $input) {
    __typename
    ... on File {
      id
      name
      contentType
      size
      image {
        width
        height
      }
    }
    ... on Error {
      message
    }
  }
}
`,
    { input: { files: [], profile: 'image', tags: ['demo'] } },
  ),
  tab(
    `# Point at an address in the answer
# to see the picture.

query Library($after: String) {
  files(first: 10, after: $after) {
    totalCount
    edges {
      node {
        id
        name
        kind
        size
        url {
          url
        }
        image {
          square: rendition(width: 320, height: 320, fit: COVER) {
            url
            width
            height
          }
          srcset(widths: [320, 640, 1280]) {
            url
            width
          }
        }
      }
    }
    pageInfo {
      hasNextPage
      endCursor
    }
  }
}
`,
    { after: null },
  ),
  tab(
    `# ${LAST_UPLOAD} is the id of the file
# that was last uploaded from this page.

mutation Update($input: UpdateFileInput!) {
  updateFile(input: $input) {
    __typename
    ... on File {
      name
      title
      tags
      visibility
    }
    ... on Error {
      message
    }
  }
}
`,
    { input: { id: LAST_UPLOAD, title: 'A new title', tags: ['demo', 'changed'] } },
  ),
  tab(
    `# ${LAST_UPLOAD} is the id of the file
# that was last uploaded from this page.

mutation Delete($ids: [ID!]!) {
  deleteFiles(ids: $ids) {
    __typename
    ... on DeletedFile {
      id
    }
    ... on Error {
      message
    }
  }
}
`,
    { ids: [LAST_UPLOAD] },
  ),
];
