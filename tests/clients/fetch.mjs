// Plain fetch: JSON, or a form where there are files.

import { filesIn, form, withoutFiles } from "./form.mjs";

export function connect(url, token) {
  return async (query, variables) => {
    const files = Object.fromEntries(filesIn(variables));
    const operations = { query, variables: withoutFiles(variables) };
    const headers = { Authorization: `Bearer ${token}` };
    let body;
    if (Object.keys(files).length) body = form(operations, files);
    else {
      body = JSON.stringify(operations);
      headers["Content-Type"] = "application/json";
    }
    const response = await fetch(url, { method: "POST", headers, body });
    const { data, errors } = await response.json();
    if (errors) throw Object.assign(new Error(errors[0].message), { status: response.status });
    return data;
  };
}
