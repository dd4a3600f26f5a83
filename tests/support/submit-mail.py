"""Hands mail in over SMTP submission by both ports, then with a wrong key: submit-mail.py <host> <port> <port with TLS> <key>"""
import smtplib, ssl, sys
host, starttls, implicit, key = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
context = ssl._create_unverified_context()
mail = 'From: hi@acme.test\r\nSubject: Python\r\n\r\nHi\r\n'
def send(session, to):
    session.login('anything', key)
    print(session.sendmail('hi@acme.test', [to], mail))
    session.quit()
first = smtplib.SMTP(host, starttls)
first.starttls(context=context)
send(first, 'py1@example.org')
send(smtplib.SMTP_SSL(host, implicit, context=context), 'py2@example.org')
try:
    session = smtplib.SMTP_SSL(host, implicit, context=context, source_address=('127.0.0.77', 0))
    session.login('anything', key[:-1] + 'x')
except smtplib.SMTPAuthenticationError as error:
    print(error.smtp_code, error.smtp_error.decode())
