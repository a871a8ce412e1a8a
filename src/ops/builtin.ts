import { castOp } from './cast.js'
import { cropForegroundOp } from './crop-foreground.js'
import { cropOp } from './crop.js'
import { crystalGraphOp } from './crystal-graph.js'
import { groupOp } from './group.js'
import { latticeParametersOp } from './lattice-parameters.js'
import { niggliOp } from './niggli.js'
import { normalizeOp } from './normalize.js'
import type { OpDefinition } from './op.js'
import { orientOp } from './orient.js'
import { padOp } from './pad.js'
import { primitiveOp } from './primitive.js'
import { resampleOp } from './resample.js'
import { resliceOp } from './reslice.js'
import { renameOp, selectOp } from './select.js'
import { standardScalerOp } from './standard-scaler.js'

/** The ops that recipes in configuration files may name. */
export const builtinOps: readonly OpDefinition[] = [castOp, cropForegroundOp, cropOp, crystalGraphOp, groupOp, latticeParametersOp, niggliOp, normalizeOp, orientOp, padOp, primitiveOp, renameOp, resampleOp, resliceOp, selectOp, standardScalerOp]
