/**
 * What kind of sender a mail has: a mail system that reports a failure, a person's assistant (RFC 3834), a filter that wants a
 * person to prove to be one (challenge/response), or nobody of these.
 *
 * A bounce without machine-readable part is believed only from a mail system: a person who forwards one, or writes about one, is
 * no reason to act.
 */
import { inMoreLanguages } from './failure-words.ts'
import type { MailParts } from './mail-parts.ts'
import { codeInText, statusInText } from './reply-in-text.ts'

const DAEMON_ADDRESS =
  /(?:^|[<\s"])(?:mailer[-._]?daemon|post[-._]?master|mail[-._]?daemon|mail[-._]?admin(?:istrator)?|mdaemon|mail[-._]?(?:delivery|router|system|gateway|server)\S{0,40})@/i
/** Addresses of machines that send other things as well. */
const MACHINE_ADDRESS =
  /(?:^|[<\s"])(?:[^\s<>"@]{0,40}(?:smtp|gateway|anti-?virus|mailer|mail-?sweeper|imss|delivery)[^\s<>"@]{0,40}|(?:no[-._]?reply|do[-._]?not[-._]?reply|bounces?|mta|sysadmin|administrator|daemon|root|system)\S{0,40}|\S{1,40}-(?:admin|request|owner|bounces))@/i
const DAEMON_NAME =
  /mail(?:er)?[- ]?(?:deliver|daemon|administrator|system|gateway|server|transport)|delivery (?:subsystem|system|agent|status)|mail-?daemon|postmaster|sistema de (?:correo|entrega|mensa)|sistema di posta|mailzustellung|почтов|系统管理|시스템|system administrator|content-filter|interscan|spam firewall|firewall|mail ?router|email security|message center|メール配信|rejected|undeliverable/i
const FAILURE_SUBJECT =
  /undeliver|not? (?:be )?deliver|could.?n.t (?:be )?deliver|deliver(?:y|ed)?\b.{0,40}(?:fail|problem|error|status|report|notif|delay|unsuccess|incomplete|refus|reject)|(?:fail|problem|error|unsuccess|unable|report).{0,40}deliver|fail(?:ure|ed)? (?:notice|notification|mail|message)|mail(?:ing)? (?:failure|failed|error|system error|status)|returned (?:mail|to sender|message)|not member|return(?:ed)? mail|bounced?\b|message (?:you sent|not delivered|delayed|rejected|blocked|frozen|status)|non[- ]?(?:delivery|remis)|rejected|warning: (?:message|could not)|user unknown|unknown (?:user|recipient)|error sending|mail could not|unzustellbar|zustellung|fehlgeschlagen|non recapit|n[ãa]o entreg|no (?:se )?(?:ha )?entreg|devuelto|retourn|配信|不達|エラー|送信|未達|退信|退回|недоставл|delivery|nicht zugestellt|niet bezorgd|nie dostarcz|niedor[eę]cz|mislukt|onbestelbaar|failed mail|mail failed|falha|error de entrega|fallo|impossibile|mancata consegna|non (?:[eè] stato )?(?:recapit|consegn)|반송|실패|nedoru[cč]|kunde inte lever|kunne ikke lever|edileme|iletilemedi|系统退|無法投|недоставлен|не доставлен|δεν παραδ|לא נמסר|không gửi|k[eé]zbes[ií]thetetlen|nelivrat/i
/** "Cannot" and "failed" in the languages whose words for it are no words of a delivery: what was to be done stands beside them. */
const FAILED_DELIVERY =
  /(?:تعذ\u0651?ر|فشل|لم يتم)\S{0,4} (?:في )?(?:ال)?(?:تسليم|[إا]رسال|توصيل)|(?:παράδοσ|παραδο|αποστολ)\S{0,4}.{0,20}(?:απέτυχ|αποτυχ)|(?:απέτυχ|αποτυχ)\S{0,4}.{0,12}(?:παράδοσ|παραδο|αποστολ)|(?:מסיר|משלוח|שליח)\S{0,3}.{0,20}נכשל|נכשל\S{0,3}.{0,12}(?:מסיר|משלוח|שליח)|(?:gửi|chuyển|phát)(?: \S{1,12})?(?: \S{1,12})? (?:thất bại|không thành công)|(?:không thể|thất bại khi) (?:gửi|chuyển|phát)|(?:gagal|tidak (?:dapat|bisa|berhasil)|tidak) (?:di|ter|me)?\S{0,3}(?:kirim|irim|sampai|antar)|(?:pengiriman|penghantaran|penyampaian) .{0,20}gagal|ไม่สามารถ(?:ส่ง|นำส่ง|จัดส่ง)|ส่ง\S{0,20}(?:ไม่สำเร็จ|ล้มเหลว|ไม่ได้)/i
/** Things other than mail that are delivered, refused and returned. */
const NO_MAIL =
  /\b(?:parcel|package|shipment|shipping|courier|your order|tracking number|postal|payment|invoice was|paket|sendung|colis|livraison de|paquete|encomenda|spedizione)\b|посылк|包裹|快递|荷物|택배/i
/** How the subject of a report begins. */
const REPORT_SUBJECT =
  /^\s{0,5}(?:undeliver|(?:mail |e-?mail |message )?delivery (?:fail|error|status|report|problem|has failed|incomplete)|(?:mail|message|e-?mail) (?:was |is |could |has )?(?:not (?:be |been )?deliver|undeliver|fail|delivery)|return(?:ed)? (?:mail|to sender)|fail(?:ure|ed) (?:notice|mail|delivery)|non[- ]?deliver|non remis|unzustellbar|zustellung)/i
/** A sentence about a delivery that failed; the subject need not say it. */
const FAILURE_SENTENCE = inMoreLanguages(
  /(?:not|n.t|unable|fail\w{0,3}|cannot|problems?|errors?|impossible|trouble)\b[^\n]{0,80}\b(?:deliver|reach|transmit|sen[dt]\b|sending)|(?:deliver|transmi|sen[dt]\b|sending|message|mail)\w{0,6}\b[^\n]{0,80}(?:not be|n.t be|not been|fail|unable|impossible|error|problem|reject|refus|abort|delayed|bounced|blocked)|undeliver|returned mail|mail ?box[^\n]{0,40} full|not (?:a )?member|over quota|unknown user|user unknown|no such user|quota exceeded|konnte nicht|nicht zugestellt|n'a pas (?:encore )?pu|no (?:se )?(?:pudo|ha podido)|n[ãa]o (?:p[oô]de|foi poss)|できません|配信|失敗|недоставл|не доставл|退信|无法|nie (?:zosta[lł]|mo[zż]na)|kon (?:\S{1,12} ){0,3}niet|impossibile|non pu[oò]|실패|없습니다|kunde inte|kunne ikke|nelze|edilemedi/i,
)
const FAILURE_TYPE = /report-type="?delivery-status/i

const REPLY_SUBJECT =
  /^\s{0,5}(?:(?:re|aw|auto|sv|antw)\s{0,2}:\s{0,3}){0,3}(?:\[?auto(?:matic)?(?:ally)?[ -]?(?:re(?:ply|sponse|sponder)|generated|antwort)?\]?\s{0,3}[:-]|auto(?:matic|mated)?[ -]?(?:re(?:ply|sponse|sponder)|antwort)|out[ -]of[ -](?:the )?office|away from|(?:i am|i'm) (?:away|out|on)|away until|on (?:vacation|leave|holiday)|vacation|holiday|abwesend|abwesenheit|automatische antwort|absence|r[ée]ponse automatique|absent|fuera de|respuesta autom|ausente|resposta autom|risposta automatica|fuori (?:sede|ufficio)|afwezig|automatisch antwoord|自動応答|自動返信|不在|自动回复|автоответ|автоматический ответ|autosvar|automatisk svar|poissa|odpowied[źz] automatyczna|自動回覆|休假|자동 ?(?:응답|회신)|부재|휴가|автовідповідь|автоматична відповідь|у відпустці|в отпуске|(?:ال)?رد (?:ال)?(?:تلقائي|آلي)|خارج المكتب|(?:أنا )?في إجازة|تعذ\u0651?ر الرد|αυτόματη απάντηση|εκτός γραφείου|απουσία|מענה אוטומטי|תשובה אוטומטית|מחוץ למשרד|בחופשה|trả lời tự động|tự động trả lời|vắng mặt|(?:tôi )?(?:đang )?(?:đi vắng|nghỉ phép)|không thể trả lời|automatikus válasz|házon kívül|szabadságon|r[aă]spuns automat|concediu|otomatik yan[ıi]t|ofis dışında|automatick[aá] odpov[eě]|mimo kancel[aá]ř|(?:balasan|jawaban) otomatis|di luar kantor|(?:saya )?sedang cuti|cuti|(?:tidak dapat|gagal) membalas|ตอบกลับอัตโนมัติ|ตอบอัตโนมัติ|ไม่อยู่|ลาพัก|ลาหยุด|อยู่นอกสำนักงาน|ไม่สามารถตอบ)/i
const CHALLENGE_SUBJECT =
  /(?:confirm|verify|authenticate|validate|approve) (?:your |this )?(?:e-?mail|message|mail|sender|delivery|identity|that you)|please (?:confirm|verify)|confirmation (?:required|needed|of your (?:e-?mail|message))|verification (?:required|needed)|sender (?:verification|authentication|authorization)|action required to deliver|waiting for (?:your )?(?:confirmation|approval)|your (?:e-?mail|message) (?:is |has been )?(?:awaiting|waiting|held|pending|quarantin)|spam ?arrest|boxbe|challenge|human (?:verification|check)|anti-?spam .{0,30}(?:confirm|verif|registr)|bestätigen sie ihre|prove (?:that )?you/i
const CHALLENGE_TEXT =
  /(?:click|follow|visit|reply|respond|answer).{0,200}(?:confirm|verify|prove|deliver|approved?|whitelist|authenticat|release)|(?:to (?:have|get) your (?:e-?mail|message) delivered)|one-?time (?:confirmation|verification)|you (?:are|must be) (?:a )?(?:human|real person)|spamarrest|boxbe|tmda/i

/**
 * `system`: its name or its address is one of a mail system. `doubtful`: some machine, or somebody without a return path
 * (RFC 5321 section 4.5.5), as absence notes have none either. A mailing list is nobody to report failures.
 */
export function senderOf(mail: MailParts): 'system' | 'doubtful' | 'person' {
  const from = (mail.field('from') ?? '').slice(0, 500)
  if (FAILURE_TYPE.test(mail.field('content-type') ?? '') || mail.field('x-failed-recipients') !== null)
    return 'system'
  if (isFromList(mail)) return 'person'
  if (/^\s{0,5}(?:<>)?\s{0,5}$/.test(from) || DAEMON_ADDRESS.test(from) || DAEMON_NAME.test(from))
    return 'system'
  const isMachine = MACHINE_ADDRESS.test(from)
  const hasNoReturnPath = /^\s{0,5}<\s{0,5}>/.test(mail.field('return-path') ?? '')
  if (isMachine && hasNoReturnPath) return 'system'
  return isMachine || hasNoReturnPath ? 'doubtful' : 'person'
}

/** Whether a mail without machine-readable part is a report of a failed delivery. */
export function isFailureReport(mail: MailParts, text: string): boolean {
  const sender = senderOf(mail)
  if (sender === 'person' || isAutoReply(mail) || isChallenge(mail)) return false
  const isTold = FAILURE_SENTENCE.test(text.slice(0, 8_000))
  if (sender === 'doubtful' && (NO_MAIL.test(text.slice(0, 2_000)) || isReply(mail, text))) return false
  return sender === 'system' ? isTold || saysFailure(mail) : isTold && saysFailure(mail)
}

/**
 * Whether it reads like a report though its sender is nobody who makes them: the subject begins as those of reports do, which what
 * people forward, answer or open tickets with does not.
 */
export function isLikelyReport(mail: MailParts, text: string): boolean {
  if (isAutoReply(mail) || isChallenge(mail)) return false
  // A mail system's report that went over a list, which put its fields on it.
  if (isFromList(mail))
    return isFromDaemon(mail) && (FAILURE_SENTENCE.test(text.slice(0, 8_000)) || saysFailure(mail))
  if (isAutomatic(mail)) return false
  if (NO_MAIL.test(text.slice(0, 2_000))) return false
  return (
    REPORT_SUBJECT.test((mail.field('subject') ?? '').slice(0, 500)) &&
    FAILURE_SENTENCE.test(text.slice(0, 8_000))
  )
}

/**
 * Whether it says that it answers a mail (RFC 3834 section 5), and quotes no server's answer: an absence note, in whatever language.
 * Reports of failures are marked so as well, but those of machines that give no code come from a mail system's address.
 */
function isReply(mail: MailParts, text: string): boolean {
  if (!/^\s{0,5}auto-replied\b/i.test(mail.field('auto-submitted') ?? '')) return false
  const said = text.slice(0, 8_000)
  return codeInText(said) === null && statusInText(said) === null
}

function isFromList(mail: MailParts): boolean {
  return ['list-id', 'list-unsubscribe', 'list-post'].some((name) => mail.field(name) !== null)
}

/** Whether its address is one that only mail systems have. */
export function isFromDaemon(mail: MailParts): boolean {
  return DAEMON_ADDRESS.test((mail.field('from') ?? '').slice(0, 500))
}

/** Whether the subject, or the type, says that something was not delivered. */
function saysFailure(mail: MailParts): boolean {
  const subject = (mail.field('subject') ?? '').slice(0, 500)
  return (
    [FAILURE_SUBJECT, FAILED_DELIVERY].some((words) => words.test(subject)) ||
    FAILURE_TYPE.test(mail.field('content-type') ?? '') ||
    mail.field('x-failed-recipients') !== null
  )
}

/** A read receipt (RFC 8098): its fields look like those of a delivery status. */
export function isReadReceipt(mail: MailParts): boolean {
  return (
    /disposition-notification/i.test(mail.field('content-type') ?? '') ||
    mail.parts.some(({ type }) => type === 'message/disposition-notification')
  )
}

export function isAutoReply(mail: MailParts): boolean {
  if (REPLY_SUBJECT.test((mail.field('subject') ?? '').slice(0, 500))) return true
  if (/^\s{0,5}vacation/i.test(mail.field('x-apple-action') ?? '')) return true
  return ['x-autoreply', 'x-autorespond', 'x-autoresponder', 'x-mail-autoreply', 'x-vacation'].some(
    (name) => mail.field(name) !== null && mail.field(name) !== 'no',
  )
}

/** A field that any automatic mail may carry (RFC 3834 section 5), bounces too. */
export function isAutomatic(mail: MailParts): boolean {
  const submitted = mail.field('auto-submitted') ?? 'no'
  return !/^\s{0,5}no\b/i.test(submitted) || /auto[-_ ]?reply/i.test(mail.field('precedence') ?? '')
}

export function isChallenge(mail: MailParts): boolean {
  const subject = (mail.field('subject') ?? '').slice(0, 500)
  return CHALLENGE_SUBJECT.test(subject) && CHALLENGE_TEXT.test(mail.text.slice(0, 8_000))
}
