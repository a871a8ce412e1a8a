// `npm test`: makes the clone ready, then runs vitest with the arguments given.
import { fileURLToPath } from 'node:url'
import { bootstrap, run } from './bootstrap.mjs'

bootstrap()
run(process.execPath, [fileURLToPath(new URL('../node_modules/vitest/vitest.mjs', import.meta.url)), 'run', ...process.argv.slice(2)])
