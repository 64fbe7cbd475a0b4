package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
)

const scheduleKind = "events.schedule"

// A schedule tells when a rule is due.
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html
type schedule struct {
	every  time.Duration // rate(...)
	fields [6][]int      // cron(...): minutes, hours, -, months, -, years; nil is any
	days   []dayTest     // of the month, or of the week; none is any
}

var (
	rateText = regexp.MustCompile(`^rate\((\d+) (minute|minutes|hour|hours|day|days)\)$`)
	cronText = regexp.MustCompile(`^cron\((\S+) (\S+) (\S+) (\S+) (\S+) (\S+)\)$`)

	errSchedule = errors.New("not a schedule expression")
)

func parseSchedule(text string) (s schedule, err error) {
	if m := rateText.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil || n == 0 || n == 1 == strings.HasSuffix(m[2], "s") {
			return s, errSchedule
		}
		unit := map[byte]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[m[2][0]]
		s.every = time.Duration(n) * unit
		return s, nil
	}
	m := cronText.FindStringSubmatch(text)
	if m == nil {
		return s, errSchedule
	}
	if (m[3] == "?") == (m[5] == "?") {
		return s, errSchedule // exactly one of day and weekday is "?"
	}
	spans := [6][2]int{{0, 59}, {0, 23}, {}, {1, 12}, {}, {1970, 2199}}
	names := [6][]string{3: months}
	for i, f := range m[1:] {
		switch i {
		case 2:
			s.days, err = parseDays(s.days, f, dayOfMonth)
		case 4:
			s.days, err = parseDays(s.days, f, dayOfWeek)
		default:
			s.fields[i], err = parseField(f, spans[i], names[i])
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

var (
	months   = []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}
	weekdays = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}
)

// parseField reads one field: numbers, names, ranges, lists and steps.
func parseField(text string, span [2]int, names []string) ([]int, error) {
	if text == "*" || text == "?" {
		return nil, nil
	}
	var all []int
	for part := range strings.SplitSeq(text, ",") {
		body, stepText, stepped := strings.Cut(part, "/")
		step := 1
		if stepped {
			n, err := strconv.Atoi(stepText)
			if err != nil || n < 1 {
				return nil, errSchedule
			}
			step = n
		}
		from, to := span[0], span[1]
		if body != "*" {
			lo, hi, ranged := strings.Cut(body, "-")
			var err error
			if from, err = value(lo, names); err != nil {
				return nil, err
			}
			if to = from; ranged {
				if to, err = value(hi, names); err != nil {
					return nil, err
				}
			} else if stepped {
				to = span[1]
			}
		}
		if from < span[0] || to > span[1] || from > to {
			return nil, errSchedule
		}
		for n := from; n <= to; n += step {
			all = append(all, n)
		}
	}
	return all, nil
}

func value(text string, names []string) (int, error) {
	if i := slices.Index(names, strings.ToUpper(text)); i >= 0 {
		return i + 1, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, errSchedule
	}
	return n, nil
}

// next is the first time after now; zero if there is none.
func (s schedule) next(now time.Time) time.Time {
	if s.every > 0 {
		return now.Add(s.every)
	}
	t := now.UTC().Truncate(time.Minute).Add(time.Minute)
	for limit := t.AddDate(30, 0, 0); t.Before(limit); {
		switch {
		case !s.has(5, t.Year()):
			t = time.Date(t.Year()+1, 1, 1, 0, 0, 0, 0, time.UTC)
		case !s.has(3, int(t.Month())):
			t = time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC)
		case !s.onDay(t):
			t = time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, time.UTC)
		case !s.has(1, t.Hour()):
			t = t.Truncate(time.Hour).Add(time.Hour)
		case !s.has(0, t.Minute()):
			t = t.Add(time.Minute)
		default:
			return t
		}
	}
	return time.Time{}
}

func (s schedule) has(field, v int) bool {
	return s.fields[field] == nil || slices.Contains(s.fields[field], v)
}

// tick fires a scheduled rule: its event goes to its targets, and its timer is
// set anew, in one transaction.
func (s *Service) tick(ctx context.Context, t event.Task) event.Result {
	place, name, _ := strings.Cut(t.ID, "\x00")
	region, busName, _ := strings.Cut(place, "/")
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		r, ok, err := rules.Get(tx, t.ID)
		if err != nil || !ok || r.State == types.RuleStateDisabled {
			return err
		}
		env := envelope{
			Version: "0", ID: uuid.NewString(), DetailType: "Scheduled Event", Source: "aws.events", Account: s.Account, Region: region,
			Time: t.Due.UTC().Format(second), Resources: []string{s.ruleARN(region, busName, name)}, Detail: json.RawMessage("{}"),
		}
		text, err := compact(env)
		if err != nil {
			return fmt.Errorf("write event: %w", err)
		}
		if err := s.fanOut(tx, t.ID, env.ID, text); err != nil {
			return err
		}
		return s.reschedule(tx, t.ID, r)
	})
	if err != nil && ctx.Err() == nil {
		s.Log.Error("scheduled rule did not fire", "rule", t.ID, "error", err)
		return event.Retry(time.Second)
	}
	return event.Done()
}
