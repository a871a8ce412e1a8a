/** Decompressed frames that were used last, of all blobs of a store, up to a number of bytes. What is handed out is copied from them, so that one may go at any time. */
export class FrameCache {
  readonly #frames = new Map<string, { readonly bytes: Promise<Uint8Array>; readonly size: number }>()
  readonly #bytesMax: number
  #bytes = 0
  #readers = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** A name for whoever keeps frames here. */
  newReader(): number {
    return this.#readers++
  }

  /** False when a frame of this size would go at once. */
  hasRoomFor(size: number): boolean {
    return size <= this.#bytesMax
  }

  get(reader: number, frame: number): Promise<Uint8Array> | undefined {
    const name = `${reader}/${frame}`
    const found = this.#frames.get(name)
    if (found === undefined) return undefined
    // A Map keeps the order in which names came: the one used last is its last.
    this.#frames.delete(name)
    this.#frames.set(name, found)
    return found.bytes
  }

  has(reader: number, frame: number): boolean {
    return this.#frames.has(`${reader}/${frame}`)
  }

  /** Keeps a frame that is being decompressed; forgets it when that fails. */
  set(reader: number, frame: number, bytes: Promise<Uint8Array>, size: number): void {
    const name = `${reader}/${frame}`
    this.#delete(name)
    this.#frames.set(name, { bytes, size })
    this.#bytes += size
    bytes.catch(() => {
      if (this.#frames.get(name)?.bytes === bytes) this.#delete(name)
    })
    for (const oldest of this.#frames.keys()) {
      if (this.#bytes <= this.#bytesMax) break
      this.#delete(oldest)
    }
  }

  /** Forgets the frames of a reader. */
  drop(reader: number): void {
    for (const name of this.#frames.keys()) if (name.startsWith(`${reader}/`)) this.#delete(name)
  }

  #delete(name: string): void {
    this.#bytes -= this.#frames.get(name)?.size ?? 0
    this.#frames.delete(name)
  }
}
