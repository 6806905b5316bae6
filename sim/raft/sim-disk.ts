import type { Random } from "../../src/kernel/index.ts";
import { randomBelow } from "../../src/kernel/index.ts";
import type { Disk } from "../../src/raft/io/disk.ts";

const wordBytes = 8;
const sectorWords = 64;
const sectorBytes = sectorWords * wordBytes;

type File = {
  /** As a process sees it. */
  content: Buffer;
  /** As it is after the power failed. */
  durable: Buffer;
  /** Sectors in which the two may differ. */
  readonly dirty: Set<number>;
};

type NameChange =
  | { readonly kind: "create"; readonly path: string; readonly file: File }
  | { readonly kind: "rename"; readonly from: string; readonly to: string }
  | { readonly kind: "remove"; readonly path: string };

type Open = { readonly file: File; readonly isDurable: boolean };

export type SimDiskOptions = {
  readonly random: Random;
  /** Does something after the time that the disk takes for one write or sync. */
  readonly afterDelay: (run: () => void) => void;
  /** Told when promises have been settled, so that somebody lets their users go on. */
  readonly onSettled: () => void;
};

/**
 * A disk in virtual time with the promises of POSIX and not one more. Data is durable after a
 * sync or a durable write, a name after the sync of its directory. A loss of power keeps of
 * everything else what it likes: any of the sectors, one of them perhaps half, and of the
 * changes of names a first part, as journals do. The death of the process alone loses nothing,
 * but makes nothing durable either.
 */
export class SimDisk implements Disk {
  readonly #options: SimDiskOptions;
  #names = new Map<string, File>();
  #durableNames = new Map<string, File>();
  #nameChanges: NameChange[] = [];
  #opened = new Map<number, Open>();
  #nextDescriptor = 3;
  #isLocked = false;
  /** Counts up with each crash: who waited before it waits for ever. */
  #life = 0;

  constructor(options: SimDiskOptions) {
    this.#options = options;
  }

  /** The process dies, and with `losesPower` the machine. */
  crash({ losesPower }: { readonly losesPower: boolean }): void {
    this.#life += 1;
    this.#opened = new Map();
    this.#isLocked = false;
    if (!losesPower) return;
    const kept = randomBelow(this.#options.random, this.#nameChanges.length + 1);
    for (const change of this.#nameChanges.slice(0, kept)) applyChange(this.#durableNames, change);
    this.#nameChanges = [];
    this.#names = new Map(this.#durableNames);
    for (const file of this.#names.values()) this.#loseDirty(file);
  }

  lock(directory: string): Disposable {
    if (this.#isLocked) throw new Error(`${directory} is locked twice`);
    this.#isLocked = true;
    return {
      [Symbol.dispose]: () => {
        this.#isLocked = false;
      },
    };
  }

  async makeDirectory(): Promise<void> {
    // There is one directory, and it was always there.
  }

  async names(directory: string): Promise<readonly string[]> {
    return [...this.#names.keys()].map((path) => path.slice(directory.length + 1));
  }

  async sizeOf(path: string): Promise<number> {
    return this.#named(path).content.byteLength;
  }

  open(path: string, mode: "read" | "durable" | "durable_new" | "new"): number {
    const isNew = mode === "new" || mode === "durable_new";
    if (mode === "durable_new" && this.#names.has(path)) throw new Error(`EEXIST: ${path}`);
    if (isNew) {
      const file = { content: Buffer.alloc(0), durable: Buffer.alloc(0), dirty: new Set<number>() };
      this.#change({ kind: "create", path, file });
    }
    const descriptor = this.#nextDescriptor;
    this.#nextDescriptor += 1;
    const isDurable = mode === "durable" || mode === "durable_new";
    this.#opened.set(descriptor, { file: this.#named(path), isDurable });
    return descriptor;
  }

  close(descriptor: number): void {
    this.#opened.delete(descriptor);
  }

  async read(descriptor: number, target: Uint8Array, offset: number): Promise<number> {
    return this.readNow(descriptor, target, offset);
  }

  readNow(descriptor: number, target: Uint8Array, offset: number): number {
    const { content } = this.#file(descriptor).file;
    const part = content.subarray(offset, offset + target.byteLength);
    target.set(part);
    return part.byteLength;
  }

  write(descriptor: number, data: Uint8Array, offset: number): Promise<number> {
    const { file, isDurable } = this.#file(descriptor);
    const end = offset + data.byteLength;
    if (end > file.content.byteLength) {
      const grown = Buffer.alloc(end);
      grown.set(file.content);
      file.content = grown;
    }
    file.content.set(data, offset);
    const sectors = sectorsOf(offset, end);
    for (const sector of sectors) file.dirty.add(sector);
    if (!isDurable) return Promise.resolve(data.byteLength);
    return this.#later(() => {
      makeAllDurable(file, sectors);
      return data.byteLength;
    });
  }

  sync(descriptor: number): Promise<void> {
    const { file } = this.#file(descriptor);
    return this.#later(() => {
      makeAllDurable(file, [...file.dirty]);
    });
  }

  async rename(from: string, to: string): Promise<void> {
    this.#named(from);
    this.#change({ kind: "rename", from, to });
  }

  async remove(path: string): Promise<void> {
    if (this.#names.has(path)) this.#change({ kind: "remove", path });
  }

  syncDirectory(): Promise<void> {
    const count = this.#nameChanges.length;
    const asked = this.#nameChanges.slice(0, count);
    return this.#later(() => {
      for (const change of asked) {
        // Another sync may have been faster.
        if (this.#nameChanges[0] !== change) continue;
        this.#nameChanges.shift();
        applyChange(this.#durableNames, change);
      }
    });
  }

  randomBytes(count: number): Buffer {
    const bytes = Buffer.alloc(count);
    for (let at = 0; at < count; at += 1) bytes[at] = randomBelow(this.#options.random, 256);
    return bytes;
  }

  #later<Value>(finish: () => Value): Promise<Value> {
    const life = this.#life;
    const { promise, resolve } = Promise.withResolvers<Value>();
    this.#options.afterDelay(() => {
      if (life !== this.#life) return;
      resolve(finish());
      this.#options.onSettled();
    });
    return promise;
  }

  #change(change: NameChange): void {
    applyChange(this.#names, change);
    this.#nameChanges.push(change);
  }

  #named(path: string): File {
    const file = this.#names.get(path);
    if (file === undefined) throw new Error(`ENOENT: ${path}`);
    return file;
  }

  #file(descriptor: number): Open {
    const open = this.#opened.get(descriptor);
    if (open === undefined) throw new Error(`EBADF: ${descriptor}`);
    return open;
  }

  #loseDirty(file: File): void {
    const { random } = this.#options;
    const dirty = [...file.dirty].sort((left, right) => left - right);
    const isInOrder = random.next() < 0.5;
    const kept = randomBelow(random, dirty.length + 1);
    dirty.forEach((sector, position) => {
      const isKept = isInOrder ? position < kept : random.next() < 0.5;
      const bytes = isKept ? sectorBytes : randomBelow(random, sectorWords) * wordBytes;
      if (isKept || random.next() < 0.1) makeDurable(file, sector, bytes);
    });
    file.dirty.clear();
    file.content = Buffer.from(file.durable);
  }
}

function sectorsOf(start: number, end: number): readonly number[] {
  const first = Math.floor(start / sectorBytes);
  const count = Math.ceil(end / sectorBytes) - first;
  return Array.from({ length: Math.max(0, count) }, (_, position) => first + position);
}

function makeAllDurable(file: File, sectors: readonly number[]): void {
  // From the end, so that the file grows once.
  for (const sector of sectors.toSorted((left, right) => right - left)) makeDurable(file, sector);
}

function makeDurable(file: File, sector: number, bytes = sectorBytes): void {
  const start = sector * sectorBytes;
  const part = file.content.subarray(start, start + bytes);
  if (start + part.byteLength > file.durable.byteLength) {
    const grown = Buffer.alloc(start + part.byteLength);
    grown.set(file.durable);
    file.durable = grown;
  }
  file.durable.set(part, start);
  file.dirty.delete(sector);
}

function applyChange(names: Map<string, File>, change: NameChange): void {
  switch (change.kind) {
    case "create":
      names.set(change.path, change.file);
      return;
    case "rename": {
      const file = names.get(change.from);
      names.delete(change.from);
      if (file !== undefined) names.set(change.to, file);
      return;
    }
    case "remove":
      names.delete(change.path);
      return;
    default:
  }
}
