import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { root } from './root.js'

const PYTHON = '/usr/bin/python3'

/** A Python process beside us that works only while it is asked. Calls are functions of its script; times are taken there. */
export class Peer {
  readonly #child: ChildProcess
  readonly #replies: AsyncIterator<string>
  /** `numpy 1.24.2, torch 1.13` */
  readonly versions: string
  readonly #calls: readonly string[]

  private constructor(child: ChildProcess, replies: AsyncIterator<string>, versions: string, calls: readonly string[]) {
    this.#child = child
    this.#replies = replies
    this.versions = versions
    this.#calls = calls
  }

  /** Undefined when Python, NumPy or what else the script imports is not there. */
  static async start(script: string): Promise<Peer | undefined> {
    // A group of its own, so that the processes of a pool end with it: they hold its output open, which would keep us from ending.
    const child = spawn(PYTHON, ['-u', join(root, 'bench/peers', `${script}.py`)], { stdio: ['pipe', 'pipe', 'inherit'], detached: true })
    const failed = new Promise<undefined>((done) => child.once('error', () => done(undefined)))
    const replies = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
    const hello = await Promise.race([replies.next(), failed])
    if (hello === undefined || hello.done) return undefined
    const { versions, calls, missing } = JSON.parse(hello.value) as { versions?: string; calls?: string[]; missing?: string }
    if (missing !== undefined) {
      console.error(`No peer: ${missing}`)
      child.kill()
      return undefined
    }
    return new Peer(child, replies, versions!, calls!)
  }

  /** The peer itself, if the package that a function needs is there. */
  has(name: string): this | undefined {
    return this.#calls.includes(name) ? this : undefined
  }

  /** Calls a function of the script; what it returns, usually seconds. */
  async call<T = number>(name: string, args: Readonly<Record<string, unknown>> = {}): Promise<T> {
    this.#child.stdin!.write(`${JSON.stringify({ call: name, args })}\n`)
    const reply = await this.#replies.next()
    if (reply.done) throw new Error(`the peer ended during ${name}`)
    const { value, error } = JSON.parse(reply.value) as { value?: T; error?: string }
    if (error !== undefined) throw new Error(`peer ${name}: ${error}`)
    return value as T
  }

  stop(): void {
    this.#child.stdin!.destroy()
    this.#child.stdout!.destroy()
    try {
      process.kill(-this.#child.pid!, 'SIGKILL')
    } catch {
      // It has ended.
    }
  }
}
