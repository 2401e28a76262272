// Numbers, dates and kinds as people read them.

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });

export const KINDS = ['IMAGE', 'VIDEO', 'AUDIO', 'DOCUMENT', 'ARCHIVE', 'OTHER'];

export const inWords = (constant: string): string => constant[0] + constant.slice(1).toLowerCase();
export const when = (iso: string): string => DATE.format(new Date(iso));

export function bytes(size: number): string {
  const power = size < 1024 ? 0 : Math.min(Math.floor(Math.log2(size) / 10), UNITS.length - 1);
  return `${(size / 1024 ** power).toFixed(power && 1)} ${UNITS[power]}`;
}

export const tagsOf = (text: string): string[] => text.split(',').map((tag) => tag.trim()).filter(Boolean);
