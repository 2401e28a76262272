// Relay's network layer; what to do with uploadables is left to the fetch function, as its manual has it.
// No compiler: the network is asked itself, with the text where a compiled artifact would stand.

import relay from "relay-runtime";
import { filesIn, form, withoutFiles } from "./form.mjs";

const { Environment, Network, RecordSource, Store } = relay;

export function connect(url, token) {
  async function fetchFunction({ text }, variables, cacheConfig, uploadables) {
    const operations = { query: text, variables };
    const headers = { Authorization: `Bearer ${token}` };
    if (!uploadables) headers["Content-Type"] = "application/json";
    const body = uploadables ? form(operations, uploadables) : JSON.stringify(operations);
    const response = await fetch(url, { method: "POST", headers, body });
    const answer = await response.json();
    if (!answer.data) throw Object.assign(new Error(answer.errors[0].message), { status: response.status });
    return answer;
  }
  const environment = new Environment({
    network: Network.create(fetchFunction),
    store: new Store(new RecordSource()),
  });
  return async (text, variables) => {
    const files = Object.fromEntries(filesIn(variables));
    const { data } = await environment
      .getNetwork()
      .execute({ text }, withoutFiles(variables), {}, Object.keys(files).length ? files : undefined)
      .toPromise();
    return data;
  };
}
