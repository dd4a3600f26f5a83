/**
 * Certificates that no generator in these tests makes, by `openssl req` and `openssl x509`, valid until 2126: extensions that
 * constrain an authority, and some that nobody knows. DER in base64.
 */
import { X509Certificate } from 'node:crypto'

const read = (base64: string): X509Certificate => new X509Certificate(Buffer.from(base64, 'base64'))

export const oddCertificates = {
  /** An authority for other.example alone, critical as RFC 5280 §4.2.1.10 wants it. */
  constrained: read(
    [
      'MIIBgDCCASegAwIBAgIUMe1bYCvjStlQvC+Qji2zQCphcsIwCgYIKoZIzj0EAwIwDTELMAkGA1UEAwwCbmMwIBcNMjYxMTI1',
      'MjIwNTI1WhgPMjEyNjExMDEyMjA1MjVaMA0xCzAJBgNVBAMMAm5jMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3PFymJsy',
      '7QicQNNL3KDx3yz8fN8wKpHPQr6vLRvoS4rTtc0skBKImogj+f/YjR6bubYpeQd9Rq9eY86YY+dhoaNjMGEwDwYDVR0TAQH/',
      'BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAgQwHwYDVR0eAQH/BBUwE6ARMA+CDW90aGVyLmV4YW1wbGUwHQYDVR0OBBYEFOrfQ1S1',
      'ra1Kl9HEogf1Dnl0LKopMAoGCCqGSM49BAMCA0cAMEQCIDWoNe5VDr6nkj9yTD4EEEy9HTVZ+Bg3VZiPAnhXiUDmAiBUvGmL',
      'UwSMV5UGn053kHRLwkUgXsdfyqdtcIXuFHQY3w==',
    ].join(''),
  ),
  /** For mx.example.com, by the one above. */
  underConstrained: read(
    [
      'MIIBpzCCAU6gAwIBAgIUf33iO/oNq7I4jSE6qUj3ZRNY0jwwCgYIKoZIzj0EAwIwDTELMAkGA1UEAwwCbmMwIBcNMjYxMTI1',
      'MjIwNTI1WhgPMjEyNjExMDEyMjA1MjVaMBkxFzAVBgNVBAMMDm14LmV4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0D',
      'AQcDQgAEqCAFBQ5NAHnWo0y9cD+4yDRYVIq+VKtoTr7AUlBopGiLSw+qAj32EiPWetAgXrocZ320zHSrUtQMkW03P27BcaN+',
      'MHwwGQYDVR0RBBIwEIIObXguZXhhbXBsZS5jb20wEwYDVR0lBAwwCgYIKwYBBQUHAwEwCgYEKgMEBQQCBQAwHQYDVR0OBBYE',
      'FHmAn7O+TF6mKw8enXU5LWlFHLoBMB8GA1UdIwQYMBaAFOrfQ1S1ra1Kl9HEogf1Dnl0LKopMAoGCCqGSM49BAMCA0cAMEQC',
      'ICSrN+pzudAZnX+SqcwFUgmJqaew+ddknAvoa2i4FrAOAiAJbFxdZO8b8bX9M9TWL/LV+B0FH2I+EdrD37pu9gDP3Q==',
    ].join(''),
  ),
  /** The same, not marked as critical. */
  softlyConstrained: read(
    [
      'MIIBhzCCASygAwIBAgIUbee9CiIq488+1NdYGJMAh8lN0qEwCgYIKoZIzj0EAwIwETEPMA0GA1UEAwwGbmNzb2Z0MCAXDTI2',
      'MTEyNTIyMDUyNVoYDzIxMjYxMTAxMjIwNTI1WjARMQ8wDQYDVQQDDAZuY3NvZnQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC',
      'AARdgVPaEJ8I8UAhC/Bzp5RELQPp6h9P8xxVdTTt2fgM8vovo263DraIJCzEx1pNJiGQ4qx6PdPgD8oHri6Y2Weao2AwXjAP',
      'BgNVHRMBAf8EBTADAQH/MA4GA1UdDwEB/wQEAwICBDAcBgNVHR4EFTAToBEwD4INb3RoZXIuZXhhbXBsZTAdBgNVHQ4EFgQU',
      'v52yV2zTY5up4aKqm7clAmvYgj0wCgYIKoZIzj0EAwIDSQAwRgIhAN/re3fuqQDGrmGoG/J3KR5zjI3XW1OqgFBWaFFiTxQw',
      'AiEAvmp/G5jfrl7LDsjAUnLJ6j3sAqjcYhj6Pkd+MTe4c4Q=',
    ].join(''),
  ),
  /** For mx.example.com, by the one above. */
  underSoftlyConstrained: read(
    [
      'MIIBqzCCAVKgAwIBAgIUG0hZ5eaBbqD5bScQI6g2qdxz5RcwCgYIKoZIzj0EAwIwETEPMA0GA1UEAwwGbmNzb2Z0MCAXDTI2',
      'MTEyNTIyMDUyNVoYDzIxMjYxMTAxMjIwNTI1WjAZMRcwFQYDVQQDDA5teC5leGFtcGxlLmNvbTBZMBMGByqGSM49AgEGCCqG',
      'SM49AwEHA0IABBDY8hEJONARx7PzrIzxhoGwTlVPcVwubSWwk8sJybS6NHVW/mTnc3gBFdwBTPMm+6s0itUyPwFUx8A01nQn',
      'C4OjfjB8MBkGA1UdEQQSMBCCDm14LmV4YW1wbGUuY29tMBMGA1UdJQQMMAoGCCsGAQUFBwMBMAoGBCoDBAUEAgUAMB0GA1Ud',
      'DgQWBBQXzZ1xEIIFL0ose1bAvypZ5ZwCLDAfBgNVHSMEGDAWgBS/nbJXbNNjm6nhoqqbtyUCa9iCPTAKBggqhkjOPQQDAgNH',
      'ADBEAiBec7iGB6xjtLb28OM++FKwXsywXVBiqi+Rn1qv2xXLuwIgSP8dNtnRfbMO6sUqHj1bwNolG9uee0rqQOG1DM8w0n8=',
    ].join(''),
  ),
  /** An authority with a path length of 3. */
  authority: read(
    [
      'MIIBbDCCAROgAwIBAgIUDJ98xsEWEXLpokKUDWmqnZB3bAkwCgYIKoZIzj0EAwIwEjEQMA4GA1UEAwwHcGxhaW5jYTAgFw0y',
      'NjExMjUyMjA1MjVaGA8yMTI2MTEwMTIyMDUyNVowEjEQMA4GA1UEAwwHcGxhaW5jYTBZMBMGByqGSM49AgEGCCqGSM49AwEH',
      'A0IABMkosidGSOh//fQNwE+6PUnsHfn9rtz+NczTmd0OwdG/MRe1MxhXkE3tZGOCe86NNUOvYobJHafipOb4WYeW7OOjRTBD',
      'MBIGA1UdEwEB/wQIMAYBAf8CAQMwDgYDVR0PAQH/BAQDAgIEMB0GA1UdDgQWBBTlIzius/RfDm4T5LDTzIryQPvvbzAKBggq',
      'hkjOPQQDAgNHADBEAiB6hY5Bt7r0CJajDHowchgbiU9pXfo0iOpg5jAsnFqdBwIgJKMRdt65Qb0zjlf4MIS5ymI+VGd+Mj8G',
      'qLoZlaBsPAo=',
    ].join(''),
  ),
  /** For mx.example.com, with a critical extension 1.2.3.4.5. */
  withUnknownCritical: read(
    [
      'MIIBsTCCAVegAwIBAgIURrFWK/8Xpz9Io7RalvyTrwFbFk0wCgYIKoZIzj0EAwIwEjEQMA4GA1UEAwwHcGxhaW5jYTAgFw0y',
      'NjExMjUyMjA1MjVaGA8yMTI2MTEwMTIyMDUyNVowGTEXMBUGA1UEAwwObXguZXhhbXBsZS5jb20wWTATBgcqhkjOPQIBBggq',
      'hkjOPQMBBwNCAAS6FFcC36+CVyWAidXvB+oGtHqUki5ASHI72EH2tG63PikssXlZLGCCeSsObh7EKkgdJDcfBBPEEXxLb0yB',
      'GIuzo4GBMH8wGQYDVR0RBBIwEIIObXguZXhhbXBsZS5jb20wEwYDVR0lBAwwCgYIKwYBBQUHAwEwDQYEKgMEBQEB/wQCBQAw',
      'HQYDVR0OBBYEFGtIZZvmRr612Myl0KpQhyjd10CdMB8GA1UdIwQYMBaAFOUjOK6z9F8ObhPksNPMivJA++9vMAoGCCqGSM49',
      'BAMCA0gAMEUCIDldRCKNlSDwcwuPEcmOTtYJL5CYY2Zxg1+hyUcaNfqoAiEAz8b5Q4Ta86dI1nPILXB8niYKdVnDEv04L46n',
      '2RyWtQU=',
    ].join(''),
  ),
  /** For mx.example.com, with the same extension, not critical. */
  withUnknown: read(
    [
      'MIIBrjCCAVOgAwIBAgIUZR9pENS0P8CjgB9VN9FubIm3WPEwCgYIKoZIzj0EAwIwEjEQMA4GA1UEAwwHcGxhaW5jYTAgFw0y',
      'NjExMjUyMjA1MjVaGA8yMTI2MTEwMTIyMDUyNVowGTEXMBUGA1UEAwwObXguZXhhbXBsZS5jb20wWTATBgcqhkjOPQIBBggq',
      'hkjOPQMBBwNCAASRN9al9R+PesMTKjm2p1Wjg1ZsMprP33LTLs80QzMsz7FANkAhti7m74erk387KmPz3kYdNQG9A4nR+c1/',
      'ofnUo34wfDAZBgNVHREEEjAQgg5teC5leGFtcGxlLmNvbTATBgNVHSUEDDAKBggrBgEFBQcDATAKBgQqAwQFBAIFADAdBgNV',
      'HQ4EFgQU4WhlRAuThK33VuN8e+5l9zu7urUwHwYDVR0jBBgwFoAU5SM4rrP0Xw5uE+Sw08yK8kD7728wCgYIKoZIzj0EAwID',
      'SQAwRgIhAPSmjvHx/a9SseJvcf/wvmszgomZKzIkIDmyo7l0IviJAiEA5mdAPz44HTg0HhAaW6w+vYk6HFCpoBTCZ/GkmxlW',
      'OY8=',
    ].join(''),
  ),
}
