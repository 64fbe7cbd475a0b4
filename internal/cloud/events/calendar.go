package events

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// A dayTest tells whether a day is one that a cron expression names.
type dayTest func(day time.Time) bool

func (s schedule) onDay(t time.Time) bool {
	return len(s.days) == 0 || slices.ContainsFunc(s.days, func(test dayTest) bool { return test(t) })
}

// parseDays adds the tests of a field's parts to all. "*" and "?" add none:
// one of the two day fields is always "?".
func parseDays(all []dayTest, text string, one func(string) (dayTest, error)) ([]dayTest, error) {
	if text == "*" || text == "?" {
		return all, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		test, err := one(strings.ToUpper(part))
		if err != nil {
			return nil, err
		}
		all = append(all, test)
	}
	return all, nil
}

func lastDay(t time.Time) int { return time.Date(t.Year(), t.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day() }

// workday is the weekday nearest to a day of t's month and inside that month;
// 0 if the month does not have the day.
func workday(t time.Time, day int) int {
	last := lastDay(t)
	if day > last {
		return 0
	}
	switch time.Date(t.Year(), t.Month(), day, 0, 0, 0, 0, time.UTC).Weekday() {
	case time.Saturday:
		if day == 1 {
			return day + 2
		}
		return day - 1
	case time.Sunday:
		if day == last {
			return day - 2
		}
		return day + 1
	}
	return day
}

// dayOfMonth reads "L" (the last day), "LW" (the last weekday), "15W" (the
// weekday nearest to the 15th), and what [parseField] reads.
func dayOfMonth(text string) (dayTest, error) {
	switch text {
	case "L":
		return func(t time.Time) bool { return t.Day() == lastDay(t) }, nil
	case "LW":
		return func(t time.Time) bool { return t.Day() == workday(t, lastDay(t)) }, nil
	}
	if near, ok := strings.CutSuffix(text, "W"); ok {
		n, err := strconv.Atoi(near)
		if err != nil || n < 1 || n > 31 {
			return nil, errSchedule
		}
		return func(t time.Time) bool { return t.Day() == workday(t, n) }, nil
	}
	days, err := parseField(text, [2]int{1, 31}, nil)
	if err != nil {
		return nil, err
	}
	return func(t time.Time) bool { return days == nil || slices.Contains(days, t.Day()) }, nil
}

// dayOfWeek reads "L" (Saturday), "FRIL" or "6L" (the month's last Friday),
// "3#2" (its second Tuesday), and what [parseField] reads.
func dayOfWeek(text string) (dayTest, error) {
	if text == "L" {
		return func(t time.Time) bool { return t.Weekday() == time.Saturday }, nil
	}
	if name, ok := strings.CutSuffix(text, "L"); ok {
		n, err := value(name, weekdays)
		if err != nil || n < 1 || n > 7 {
			return nil, errSchedule
		}
		return func(t time.Time) bool { return int(t.Weekday())+1 == n && t.Day()+7 > lastDay(t) }, nil
	}
	if name, nth, ok := strings.Cut(text, "#"); ok {
		n, err := value(name, weekdays)
		k, err2 := strconv.Atoi(nth)
		if err != nil || err2 != nil || n < 1 || n > 7 || k < 1 || k > 5 {
			return nil, errSchedule
		}
		return func(t time.Time) bool { return int(t.Weekday())+1 == n && (t.Day()+6)/7 == k }, nil
	}
	days, err := parseField(text, [2]int{1, 7}, weekdays)
	if err != nil {
		return nil, err
	}
	return func(t time.Time) bool { return days == nil || slices.Contains(days, int(t.Weekday())+1) }, nil
}
