import { fork } from 'node:child_process'
import type { Finding } from './question.js'

export interface Reply {
  readonly about: string
  /** Versions of the peers that took part. */
  readonly peers: readonly string[]
  readonly findings: readonly Finding[]
  /** Why there are no findings. */
  readonly failed?: string
}

/** Runs a script that sends a reply. One that ends without, however it ends, has failed. */
export async function ask(script: string, args: readonly string[]): Promise<Reply> {
  const child = fork(script, args)
  let reply: Reply | undefined
  child.on('message', (message) => { reply = message as Reply })
  const failed = (why: string): Reply => ({ about: '', peers: [], findings: [], failed: why })
  return await new Promise((done) => {
    child.once('error', (error) => done(failed(error.message)))
    child.once('close', (code, signal) => done(reply ?? failed(`its process ended with ${signal ?? `exit status ${code}`} before it answered`)))
  })
}
