package controlclient

import (
	"regexp"
	"strings"
	"time"
)

// iso8601 is the extended form of a date with a time: what RFC 3339 and the
// date libraries of all languages write, with or without a zone. time.Parse
// alone would take more than that, such as an hour of one digit or an offset of
// 24:60.
var iso8601 = regexp.MustCompile(`^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(?:(:\d\d)(?:[.,](\d{1,18}))?)?([Zz]|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)?$`)

// parseTime reads a moment in UTC. Without a zone it is UTC already. A
// fraction is kept to the nanosecond.
func parseTime(s string) (time.Time, bool) {
	part := iso8601.FindStringSubmatch(s)
	if part == nil {
		return time.Time{}, false
	}
	date, clock, seconds, fraction, zone := part[1], part[2], part[3], part[4], strings.ToUpper(part[5])
	if seconds == "" { // as Java writes a full minute
		seconds = ":00"
	}
	clock += seconds
	if fraction != "" {
		clock += "." + fraction[:min(len(fraction), 9)]
	}
	layout := "Z07:00"
	switch len(zone) {
	case 0:
		zone = "Z"
	case len("+00"):
		layout = "Z07"
	case len("+0000"):
		layout = "Z0700"
	}
	t, err := time.Parse("2006-01-02T15:04:05"+layout, date+"T"+clock+zone)
	return t.UTC(), err == nil
}
