import t from "tap";
import { digestAmong } from "../../src/runtime/io/docker-pins.ts";

const one = `sha256:${"1".repeat(64)}`;
const two = `sha256:${"2".repeat(64)}`;

t.test("[J7] the digest of an image is that of its own repository", async (t) => {
  const cases: readonly (readonly [
    image: string,
    digests: readonly string[],
    expected: string | undefined,
  ])[] = [
    ["nginx:1.27", [`nginx@${one}`], `nginx:1.27@${one}`],
    ["docker.io/library/nginx:1.27", [`nginx@${one}`], `docker.io/library/nginx:1.27@${one}`],
    ["nginx", [`nginx@${one}`], `nginx@${one}`],
    [
      "registry.example.com:5000/web:1",
      [`other/web@${two}`, `registry.example.com:5000/web@${one}`],
      `registry.example.com:5000/web:1@${one}`,
    ],
    ["web:1", [`example/web@${one}`], undefined],
    ["web:1", [], undefined],
    ["web:1", ["web@sha256:short", "web"], undefined],
  ];
  for (const [image, digests, expected] of cases) {
    t.equal(digestAmong(image, digests), expected, image);
  }
});
