// What a client does with its files, from the first upload to the last deletion; prints all answers as JSON.
// Usage: node story.mjs apollo|fetch|relay|urql URL TOKEN

const [name, url, token] = process.argv.slice(2);
const { connect } = await import(`./${name}.mjs`);
const ask = connect(url, token);

const RESULT = `
  __typename
  ... on File { id name title description tags metadata size sha256 visibility }
  ... on Error { message }
`;
const UPLOAD = `mutation ($input: UploadFileInput!) { uploadFile(input: $input) { ${RESULT} } }`;
const UPLOAD_MANY = `mutation ($input: UploadFilesInput!) { uploadFiles(input: $input) { ${RESULT} } }`;
const UPDATE = `mutation ($input: UpdateFileInput!) { updateFile(input: $input) { ${RESULT} } }`;
const DELETE = `
  mutation ($ids: [ID!]!) {
    deleteFiles(ids: $ids) { __typename ... on DeletedFile { id } ... on FileNotFound { id } }
  }
`;
const LIST = `
  query ($filters: FileFilter, $order: FileOrder, $first: Int, $after: String) {
    files(filters: $filters, order: $order, first: $first, after: $after) {
      totalCount
      edges { node { id name } }
      pageInfo { hasNextPage endCursor }
    }
  }
`;

const tag = crypto.randomUUID(); // tells the files of this run from all others
const text = (name) => new File([`This is ${name}.\n`], name, { type: "text/plain" });
const empty = () => new File([], "empty.txt");

async function upload(file, more) {
  return (await ask(UPLOAD, { input: { file, tags: [tag], ...more } })).uploadFile;
}

async function uploadMany(...files) {
  return (await ask(UPLOAD_MANY, { input: { files, tags: [tag] } })).uploadFiles;
}

async function pages(first) {
  const found = [];
  let after = null;
  do {
    const variables = { filters: { tags: { all: [tag] } }, order: { field: "NAME" }, first, after };
    found.push((await ask(LIST, variables)).files);
    after = found.at(-1).pageInfo.endCursor;
  } while (found.at(-1).pageInfo.hasNextPage);
  return found;
}

/** What the client tells its caller of a request that fails. */
async function failure(asked) {
  try {
    return { data: await asked };
  } catch ({ message, status }) {
    return { message, status };
  }
}

const twice = text("b.txt");
const answers = {
  one: await upload(text("naïve 文件 🎉.txt")),
  many: await uploadMany(twice, text("a.txt"), twice),
  nested: await upload(text("nested.txt"), {
    title: "Grüße",
    description: "Zwei\nZeilen",
    tags: [tag, "naïve", "文件"],
    metadata: { camera: { lens: ["35 mm", null], flash: false }, größe: 2.5 },
    visibility: "PUBLIC",
  }),
  empty: await upload(empty()),
  someEmpty: await uploadMany(text("z.txt"), empty()),
  pages: await pages(4),
};
const { id } = answers.one;
answers.changed = (
  await ask(UPDATE, { input: { id, name: "новое имя.txt", title: "Später" } })
).updateFile;
const ids = answers.pages.flatMap((page) => page.edges.map((edge) => edge.node.id));
answers.deleted = (await ask(DELETE, { ids: [...ids, id] })).deleteFiles;
answers.left = await pages(10);
answers.failures = {
  argument: await failure(ask(LIST, { first: 1000 })),
  document: await failure(ask("query { nothing }", {})),
  upload: await failure(ask(UPLOAD, { input: { file: "no file" } })),
  token: await failure(connect(url, "coffer_wrong")(LIST, {})),
};
console.log(JSON.stringify(answers));
