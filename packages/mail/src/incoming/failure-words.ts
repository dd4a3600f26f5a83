/** Words of failure that every reader of reports knows, beside its own. */

/** Chinese (Taiwan), Ukrainian, Arabic, Greek, Hebrew, Vietnamese, Hungarian, Romanian, Indonesian, Thai. */
const MORE =
  /無法|失敗|退信|неможлив|не вдалося|не доставлено|не знайдено|تعذر|فشل|لم يتم|غير موجود|δεν ήταν δυνατ|απέτυχε|αποτυχία|δεν υπάρχει|נכשל|לא ניתן|לא נמסר|không thể|thất bại|không tồn tại|nem (?:siker[uü]lt|lehet|k[eé]zbes)|k[eé]zbes[ií]thetetlen|megtelt|nu (?:a putut|poate|exist)|nelivrat|tidak (?:dapat|ditemukan)|ไม่สามารถ|ไม่พบ/

/** @param words alternatives, of which none spans the whole */
export function inMoreLanguages(words: RegExp): RegExp {
  return new RegExp(`${words.source}|${MORE.source}`, words.flags)
}
