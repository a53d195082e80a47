package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"text/template"
	"time"

	"github.com/cypherlink/cypherlink"
)

// The instruction of the main job: Bank A's customer buys a laptop priced at 2,000.00 DC/EP.

// samplePayment is it as JSON.
const samplePayment = `{
  "end_to_end_id": "LAPTOP-0001",
  "debtor": {"name": "` + debtorName + `", "iban": "` + debtorIBAN + `", "agent": "CYPADEFFXXX", "country": "DE"},
  "creditor": {"name": "` + creditorName + `", "account": "` + creditorCN + `", "agent": "CYPBCNBJXXX", "country": "CN"},
  "destination": {"asset": "` + labelDCEP + `", "amount": "2000.00"},
  "purpose": "GDDS",
  "remittance": "One laptop"
}
`

// sampleChannelPayment pays over the channel: whichever of the two banks is told, pays the other.
const sampleChannelPayment = `{
  "end_to_end_id": "TREASURY-0001",
  "debtor": {"name": "` + treasuryName + `", "account": "` + treasuryAccount + `"},
  "creditor": {"name": "` + treasuryName + `", "account": "` + treasuryAccount + `"},
  "destination": {"asset": "` + labelClaim + `", "amount": "100.00"},
  "purpose": "INTC",
  "remittance": "Between the banks' treasuries"
}
`

// sampleXML is it as a pacs.008.
const sampleXML = `<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08">
  <FIToFICstmrCdtTrf>
    <GrpHdr>
      <MsgId>{{.ID}}</MsgId>
      <CreDtTm>{{.At}}</CreDtTm>
      <NbOfTxs>1</NbOfTxs>
      <SttlmInf><SttlmMtd>CLRG</SttlmMtd></SttlmInf>
      <InstgAgt><FinInstnId><BICFI>CYPADEFFXXX</BICFI></FinInstnId></InstgAgt>
      <InstdAgt><FinInstnId><BICFI>CYPBCNBJXXX</BICFI></FinInstnId></InstdAgt>
    </GrpHdr>
    <CdtTrfTxInf>
      <PmtId>
        <InstrId>LAPTOP-0001</InstrId>
        <EndToEndId>LAPTOP-0001</EndToEndId>
        <UETR>{{.UETR}}</UETR>
      </PmtId>
      <IntrBkSttlmAmt Ccy="CNY">2000.00</IntrBkSttlmAmt>
      <IntrBkSttlmDt>{{.Day}}</IntrBkSttlmDt>
      <ChrgBr>DEBT</ChrgBr>
      <Dbtr><Nm>` + debtorName + `</Nm><PstlAdr><TwnNm>Frankfurt</TwnNm><Ctry>DE</Ctry></PstlAdr></Dbtr>
      <DbtrAcct><Id><IBAN>` + debtorIBAN + `</IBAN></Id></DbtrAcct>
      <DbtrAgt><FinInstnId><BICFI>CYPADEFFXXX</BICFI></FinInstnId></DbtrAgt>
      <CdtrAgt><FinInstnId><BICFI>CYPBCNBJXXX</BICFI></FinInstnId></CdtrAgt>
      <Cdtr><Nm>` + creditorName + `</Nm><PstlAdr><TwnNm>Beijing</TwnNm><Ctry>CN</Ctry></PstlAdr></Cdtr>
      <CdtrAcct><Id><Othr><Id>` + creditorCN + `</Id></Othr></Id></CdtrAcct>
      <Purp><Cd>GDDS</Cd></Purp>
      <RmtInf><Ustrd>One laptop</Ustrd></RmtInf>
    </CdtTrfTxInf>
  </FIToFICstmrCdtTrf>
</Document>
`

// sampleMessage is the pacs.008 as a new message of a new payment.
func sampleMessage(now time.Time) ([]byte, error) {
	t, err := template.New("pacs.008").Parse(sampleXML)
	if err != nil {
		return nil, err
	}
	uetr, err := cypherlink.NewUETR(rand.Reader)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]string{
		"ID": fmt.Sprintf("CYPA-%d", now.UnixMilli()), "UETR": uetr.String(),
		"At": now.UTC().Format("2006-01-02T15:04:05Z"), "Day": now.UTC().Format(time.DateOnly),
	})
	return b.Bytes(), err
}

func newUETR() (cypherlink.UETR, error) { return cypherlink.NewUETR(rand.Reader) }
