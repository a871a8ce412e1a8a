import type { Verb } from '../verb.js'
import { build } from './build.js'
import { doctor } from './doctor.js'
import { exportVerb } from './export.js'
import { info } from './info.js'
import { inspect } from './inspect.js'
import { ls } from './ls.js'
import { verify } from './verify.js'

/** In the order of the help. */
export const verbs: readonly Verb[] = [build, ls, info, inspect, exportVerb, verify, doctor]
