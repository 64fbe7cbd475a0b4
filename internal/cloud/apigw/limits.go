package apigw

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"
)

// A bucket holds the tokens of one route of a stage: API Gateway's token
// bucket, with a rate a second and a burst.
type bucket struct {
	tokens float64
	last   time.Time
}

// admit takes a token for the request, if the stage limits its route. Requests
// that start something are refused while the cloud is behind with what others
// have started.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-throttling.html
func (s *Service) admit(req *request) bool {
	if req.Method != http.MethodGet && req.Method != http.MethodHead && s.Overloaded != nil && s.Overloaded() {
		return false
	}
	var rate *float64
	var burst *int32
	for _, rs := range []*types.RouteSettings{req.stage.DefaultRouteSettings, routeSettings(req)} {
		if rs == nil {
			continue
		}
		if rs.ThrottlingRateLimit != nil {
			rate = rs.ThrottlingRateLimit
		}
		if rs.ThrottlingBurstLimit != nil {
			burst = rs.ThrottlingBurstLimit
		}
	}
	if rate == nil || burst == nil {
		return true // the account's limit of 10,000 a second is not modelled: one machine stays below
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	k := *req.api.ApiId + "/" + *req.stage.StageName + "/" + *req.route.RouteKey
	b := s.buckets[k]
	if b == nil {
		b = &bucket{tokens: float64(*burst), last: now}
		s.buckets[k] = b
	}
	b.tokens = min(float64(*burst), b.tokens+now.Sub(b.last).Seconds()**rate)
	b.last = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func routeSettings(req *request) *types.RouteSettings {
	if rs, ok := req.stage.RouteSettings[*req.route.RouteKey]; ok {
		return &rs
	}
	return nil
}

// cors answers preflight requests and adds the headers that the API's
// configuration asks for; it overrides what the function says.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html
func (s *Service) cors(w http.ResponseWriter, req *request) (answered bool) {
	c, origin := req.api.CorsConfiguration, req.Header.Get("Origin")
	if c == nil || origin == "" {
		return false
	}
	allowed := slices.ContainsFunc(c.AllowOrigins, func(o string) bool {
		return o == "*" || strings.EqualFold(o, origin) || strings.HasSuffix(o, "://*") && strings.HasPrefix(origin, strings.TrimSuffix(o, "*"))
	})
	preflight := req.Method == http.MethodOptions && req.Header.Get("Access-Control-Request-Method") != ""
	if allowed {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", origin)
		if slices.Contains(c.AllowOrigins, "*") {
			h.Set("Access-Control-Allow-Origin", "*")
		}
		if c.AllowCredentials != nil && *c.AllowCredentials {
			h.Set("Access-Control-Allow-Credentials", "true")
		}
		setList(h, "Access-Control-Expose-Headers", c.ExposeHeaders)
		if preflight {
			setList(h, "Access-Control-Allow-Methods", c.AllowMethods)
			setList(h, "Access-Control-Allow-Headers", c.AllowHeaders)
			if c.MaxAge != nil {
				h.Set("Access-Control-Max-Age", strconv.Itoa(int(*c.MaxAge)))
			}
		}
	}
	if preflight {
		s.write(w, req, http.StatusNoContent, nil)
	}
	return preflight
}

func setList(h http.Header, name string, values []string) {
	if len(values) > 0 {
		h.Set(name, strings.Join(values, ","))
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
