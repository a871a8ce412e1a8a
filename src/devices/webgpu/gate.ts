/**
 * Lets work in while there is room for it: at most `slots` at a time, which together hold at most `bytes`. One that is larger than all the room is let in alone,
 * beside what is held. Whoever is in needs nothing more, so nobody waits for ever.
 */
export class Gate {
  readonly #slots: number
  readonly #bytes: number
  #inside = 0
  #held = 0
  readonly #waiting: { bytes: number; enter(): void }[] = []

  constructor(slots: number, bytes: number) {
    this.#slots = slots
    this.#bytes = bytes
  }

  async run<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    await new Promise<void>((resolve) => {
      this.#waiting.push({ bytes, enter: resolve })
      this.#admit()
    })
    try {
      return await work()
    } finally {
      this.#inside--
      this.#held -= bytes
      this.#admit()
    }
  }

  /** What stays when the work is done, until it is given back with a negative number. */
  hold(bytes: number): void {
    this.#held += bytes
    this.#admit()
  }

  #admit(): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      if (this.#inside > 0 && (this.#inside >= this.#slots || this.#held + first.bytes > this.#bytes)) return
      this.#waiting.shift()
      this.#inside++
      this.#held += first.bytes
      first.enter()
    }
  }
}
