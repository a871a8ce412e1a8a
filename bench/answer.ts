// One question in a process of its own, `node answer.js NAME SIZE FOLDER`: what it leaves in memory, and how it ends, is nobody else's. The answer goes over the channel to whoever forked it.
import { Peer } from './lib/peer.js'
import type { Context, Size } from './lib/question.js'
import type { Reply } from './lib/ask.js'
import { questions } from './questions.js'

const [name, size, dir] = process.argv.slice(2) as [string, Size, string]
const started: Peer[] = []
const context: Context = {
  size, dir,
  pick: (of) => of[size],
  async peer(script) {
    // The smallest size checks our own results only: loading torch takes longer than all of it.
    const peer = size === 'tiny' ? undefined : await Peer.start(script)
    if (peer !== undefined) started.push(peer)
    return peer
  },
}
const { about, run } = await questions[name]!()
let reply: Reply
try {
  const findings = await run(context)
  reply = { about, peers: [...new Set(started.map(({ versions }) => versions))], findings }
} catch (error) {
  console.error(error)
  reply = { about, peers: [], findings: [], failed: error instanceof Error ? error.message : String(error) }
}
for (const peer of started) peer.stop()
// Whatever a question left open does not hold up the next one.
process.send!(reply, () => process.exit())
