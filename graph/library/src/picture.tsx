// A picture that begins as its ThumbHash and sharpens as its renditions come.

import { useState } from 'preact/hooks';
import { thumbHashToDataURL } from 'thumbhash';

import type { Card } from './documents.ts';

function placeholder(base64: string): string {
  return thumbHashToDataURL(Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)));
}

export function Picture({ file, sizes, alt }: { file: Card; sizes: string; alt: string }) {
  const [isSharp, setSharp] = useState(false);
  const { image, name } = file;
  if (!image) return <span class="ending">{/\.(\w{1,5})$/.exec(name)?.[1] ?? file.kind.toLowerCase()}</span>;
  const { focalPoint, srcset, thumbhash, width, height } = image;
  return (
    <img
      alt={alt}
      width={width}
      height={height}
      sizes={sizes}
      srcset={srcset.map((each) => `${each.url} ${each.width}w`).join(', ')}
      src={srcset.at(-1)?.url}
      loading="lazy"
      data-sharp={isSharp}
      onLoad={() => setSharp(true)}
      style={{
        backgroundImage: isSharp ? undefined : `url(${placeholder(thumbhash)})`,
        objectPosition: `${focalPoint.x * 100}% ${focalPoint.y * 100}%`,
      }}
    />
  );
}
