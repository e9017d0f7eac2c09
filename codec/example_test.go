package codec_test

import (
	"fmt"

	"github.com/waybill-go/waybill/codec"
)

func ExampleJSON() {
	c := codec.JSON[map[string]int]()
	p, _ := c.Encode(map[string]int{"apples": 3})
	fmt.Printf("%s %s\n", p.ContentType, p.Body)
	v, _ := c.Decode(p)
	fmt.Println(v["apples"])
	// Output:
	// application/json {"apples":3}
	// 3
}

func ExampleText() {
	p, _ := codec.Text().Encode("good morning")
	fmt.Printf("%s: %s\n", p.ContentType, p.Body)
	_, err := codec.Text().Decode(codec.Payload{Body: []byte{0xff}})
	fmt.Println(err)
	// Output:
	// text/plain; charset=utf-8: good morning
	// text is not valid UTF-8
}

func ExampleBytes() {
	p, _ := codec.Bytes().Encode([]byte{0xca, 0xfe})
	v, _ := codec.Bytes().Decode(p)
	fmt.Printf("%x\n", v)
	// Output: cafe
}

func ExampleEncoded() {
	c := codec.Encoded(codec.Text(), wrapped{token: "mark"}) // compress.Zstd, for example
	p, _ := c.Encode("good morning")
	fmt.Printf("%s: %s\n", p.Headers[codec.HeaderContentEncoding], p.Body)
	fmt.Println(c.Decode(p))
	// Output:
	// mark: markgood morning
	// good morning <nil>
}
