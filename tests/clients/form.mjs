// The GraphQL multipart request specification, written by hand.

/** All files in the variables, each with its path from `variables`. */
export function* filesIn(value, path = "variables") {
  if (value instanceof File) yield [path, value];
  else if (value && typeof value === "object")
    for (const [key, each] of Object.entries(value)) yield* filesIn(each, `${path}.${key}`);
}

/** The form for an operation whose variables have null where the files go; `files` has them by path. */
export function form(operations, files) {
  const body = new FormData();
  body.append("operations", JSON.stringify(operations));
  body.append("map", JSON.stringify(Object.fromEntries(Object.keys(files).map((path) => [path, [path]]))));
  for (const [path, file] of Object.entries(files)) body.append(path, file);
  return body;
}

/** The variables with null in the place of each file. */
export function withoutFiles(variables) {
  return JSON.parse(JSON.stringify(variables, (_, value) => (value instanceof File ? null : value)));
}
