// sharp as a worker of images.py: a job for each line that comes in, a line with its cost for each job.

import { createInterface } from "node:readline";
import sharp from "sharp";

sharp.concurrency(1);
sharp.cache(false);

const encoders = {
  jpeg: (image) => image.jpeg({ quality: 80, progressive: true }),
  png: (image) => image.png(),
  webp: (image) => image.webp({ quality: 78, effort: 4 }),
};

for await (const line of createInterface({ input: process.stdin })) {
  const { path, sides, format } = JSON.parse(line);
  const cpu = process.cpuUsage();
  const start = performance.now();
  let bytes = 0;
  for (const side of sides) {
    const box = { width: side, height: side, fit: "inside", withoutEnlargement: true };
    const resized = sharp(path).autoOrient().resize(box);
    bytes += (await encoders[format](resized).toBuffer()).length;
  }
  const wall = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  const peak = process.resourceUsage().maxRSS / 1024;
  console.log(JSON.stringify({ wall, cpu: (user + system) / 1000, peak, bytes }));
}
