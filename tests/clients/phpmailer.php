<?php
// SPDX-License-Identifier: MIT
// Sends the message of a JSON file (see README) with PHPMailer.

use PHPMailer\PHPMailer\Exception;
use PHPMailer\PHPMailer\PHPMailer;

require 'libphp-phpmailer/autoload.php';

$m = json_decode(file_get_contents($argv[1]));
$mail = new PHPMailer(true);

try {
	$mail->isSMTP();
	$mail->Host = $m->host;
	$mail->Port = $m->port;
	$mail->SMTPAuth = true;
	$mail->Username = $m->user;
	$mail->Password = $m->password;
	$mail->SMTPSecure = PHPMailer::ENCRYPTION_STARTTLS;
	$mail->SMTPOptions = ['ssl' => ['cafile' => $m->ca]];
	$mail->CharSet = PHPMailer::CHARSET_UTF8;

	$mail->setFrom($m->from->address, $m->from->name);
	foreach ($m->to as $to)
		$mail->addAddress($to->address, $to->name);
	foreach ($m->cc as $cc)
		$mail->addCC($cc->address, $cc->name);
	foreach ($m->bcc as $bcc)
		$mail->addBCC($bcc->address, $bcc->name);
	foreach ($m->reply_to as $to)
		$mail->addReplyTo($to->address, $to->name);
	foreach ($m->headers as $name => $value)
		$mail->addCustomHeader($name, $value);

	$mail->Subject = $m->subject;
	if (isset($m->html)) {
		$mail->isHTML(true);
		$mail->Body = $m->html;
		$mail->AltBody = $m->text ?? '';
	} else {
		$mail->Body = $m->text;
	}
	foreach ($m->attachments as $a)
		$mail->addAttachment($a->path, $a->name,
			PHPMailer::ENCODING_BASE64, $a->type);
	foreach ($m->inline as $a)
		$mail->addEmbeddedImage($a->path, $a->cid, $a->name,
			PHPMailer::ENCODING_BASE64, $a->type);
	$mail->send();
} catch (Exception $e) {
	fwrite(STDERR, $mail->ErrorInfo . "\n");
	exit(1);
}
