import type { Verb } from '../verb.js'
import { build } from './build.js'
import { clear } from './clear.js'
import { completion } from './completion.js'
import { doctor } from './doctor.js'
import { du } from './du.js'
import { explain } from './explain.js'
import { exportVerb } from './export.js'
import { info } from './info.js'
import { inspect } from './inspect.js'
import { ls } from './ls.js'
import { map } from './map.js'
import { prune } from './prune.js'
import { stats } from './stats.js'
import { verify } from './verify.js'

/** In the order of the help. */
export const verbs: readonly Verb[] = [build, explain, ls, info, du, map, stats, inspect, exportVerb, verify, prune, clear, doctor, completion]
