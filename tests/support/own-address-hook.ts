/**
 * Loaded into a process by NODE_OPTIONS: it believes that its machine has one more address, which looks like one of the public
 * internet and is nobody's.
 */
import { syncBuiltinESMExports } from 'node:module'
import os, { type NetworkInterfaceInfo } from 'node:os'

/** In a part of global unicast (2000::/3) that IANA has not given out. */
const ownPublicAddress = '2e00::1'

const { networkInterfaces } = os
const more: NetworkInterfaceInfo = {
  ...{ address: ownPublicAddress, netmask: 'ffff:ffff:ffff:ffff::', family: 'IPv6', scopeid: 0 },
  ...{ mac: '00:00:00:00:00:00', internal: false, cidr: `${ownPublicAddress}/64` },
}
os.networkInterfaces = () => ({ ...networkInterfaces(), public0: [more] })
syncBuiltinESMExports()
