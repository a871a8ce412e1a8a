// Writes <bytes> bytes to <file> and says what came of it: node files.child.cjs <file> <bytes>
const { createHash, randomBytes } = require('node:crypto')
const { openSync, readFileSync } = require('node:fs')
const { join } = require('node:path')

const addon = require(join(__dirname, '../../native/build/tensorcache.node'))
const [path, bytes] = process.argv.slice(2)
const content = randomBytes(Number(bytes))
addon.writeBlob(openSync(path, 'w'), [content], 4096).then(
  ({ sha256 }) => ({ right: Buffer.from(sha256).equals(createHash('sha256').update(readFileSync(path)).digest()) }),
  ({ code, message }) => ({ code, message, size: readFileSync(path).length }),
).then((result) => console.log(JSON.stringify(result)))
