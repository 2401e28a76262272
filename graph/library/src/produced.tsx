// The GraphQL behind what is shown, to be copied or tried.

import { useState } from 'preact/hooks';

import type { Variables } from './api.ts';

export function CopyButton({ text, children }: { text: string; children: string }) {
  const [said, setSaid] = useState('');
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      setSaid('Copied.');
    } catch {
      setSaid('The browser does not allow it here.'); // it does so by HTTPS and on localhost
    }
  };
  return (
    <>
      <button type="button" onClick={copy}>
        {children}
      </button>
      <span role="status">{said}</span>
    </>
  );
}

interface ProducedProperties {
  query: string;
  variables: Variables;
  hasGraphiql: boolean;
}

export function Produced({ query, variables, hasGraphiql }: ProducedProperties) {
  const given = JSON.stringify(variables, null, 2);
  const link = new URLSearchParams({ query, variables: given });
  return (
    <p class="produced">
      <CopyButton text={`${query}\n\n# Variables:\n${given.replace(/^/gm, '# ')}\n`}>Copy as GraphQL</CopyButton>
      {hasGraphiql && <a href={`/graphql#${link}`}>Open in GraphiQL</a>}
    </p>
  );
}
